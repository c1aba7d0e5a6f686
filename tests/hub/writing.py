"""What the stand-in answers to those who write: commits, branches, tags."""

import base64
import json
from typing import Any

from tests.hub.cards import problems
from tests.hub.discussions import open_pull
from tests.hub.repository import Commit, File
from tests.hub.state import Call
from tests.hub.wire import Answer, Refusal, as_json


def commit(call: Call) -> Answer:
    """Carry a commit out, on a branch, on a pull request's head, or as a pull request of its own."""
    repository, revision, limits = call.repository, call.parts["revision"], call.hub.limits
    opens = call.request.flag("create_pr")
    call.must_write(pull=opens or revision.startswith("refs/pr/"))
    if limits.payload is not None and len(call.request.body) > limits.payload:
        raise Refusal(413, "", "Payload Too Large")
    head = call.commit()
    if revision not in (repository.branches if opens else {**repository.branches, **repository.pulls}):
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    lines = [json.loads(line) for line in call.request.body.splitlines() if line.strip()]
    header = next((line["value"] for line in lines if line["key"] == "header"), {})
    if not header.get("summary"):
        raise Refusal(400, "", "A commit needs a summary")
    parent = _parent(call, head, header.get("parentCommit"), opens=opens)
    after = dict(parent.files)
    for line in lines:
        if line["key"] != "header":
            _apply(call, after, line["key"], line["value"])
    title, description, author = header["summary"], header.get("description", ""), call.account.name
    told: dict[str, Any] = {"success": True, "hookOutput": ""}
    ref = revision
    if opens:
        pull = open_pull(call, title, description, revision, parent.sha)
        ref = pull.ref
        told["pullRequestUrl"] = f"{call.page}/discussions/{pull.num}"
    sha = repository.record(after, ref, parent.sha, title, description, author)
    return Answer(body=as_json({**told, "commitOid": sha, "commitUrl": f"{call.page}/commit/{sha}"}))


def create_branch(call: Call) -> Answer:
    """Name a commit by a new branch."""
    call.must_write()
    branch, branches = call.parts["branch"], call.repository.branches
    if branch.startswith("refs/"):
        raise Refusal(400, "", f"Invalid reference for a branch: {branch}")
    if branch in branches:
        raise Refusal(409, "", f"Reference already exists: refs/heads/{branch}")
    branches[branch] = call.commit(call.request.json.get("startingPoint")).sha
    return Answer(201, as_json({}))


def delete_branch(call: Call) -> Answer:
    """Take a branch's name away; its commits stay."""
    call.must_write()
    branch = call.parts["branch"]
    if branch == "main":
        raise Refusal(403, "", "Cannot delete the default branch")
    if call.repository.branches.pop(branch, None) is None:
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {branch}")
    return Answer(body=as_json({}))


def create_tag(call: Call) -> Answer:
    """Name a commit by a new tag."""
    call.must_write()
    tag = call.request.json["tag"]
    if tag in call.repository.tags:
        raise Refusal(409, "", f"Tag reference exists already: refs/tags/{tag}")
    call.repository.tags[tag] = call.commit().sha
    return Answer(body=as_json({}))


def delete_tag(call: Call) -> Answer:
    """Take a tag's name away."""
    call.must_write()
    if call.repository.tags.pop(call.parts["tag"], None) is None:
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {call.parts['tag']}")
    return Answer(body=as_json({}))


def _parent(call: Call, head: Commit, named: str | None, *, opens: bool) -> Commit:
    """The commit to begin at: the head, which must be the named one; a new pull request begins where it says."""
    if named is None:
        return head
    if opens:
        return call.commit(named)
    if not head.sha.startswith(named) or len(named) < 7:
        raise Refusal(412, "", "A commit has happened since. Please refresh and try again.")
    return head


def _apply(call: Call, files: dict[str, File], key: str, value: dict[str, Any]) -> None:
    """Carry one operation of a commit out on what will be its files."""
    path = value["path"]
    if key == "file":
        content = base64.b64decode(value["content"])
        if len(content) > call.hub.limits.regular:
            limit = call.hub.limits.regular
            raise Refusal(
                400, "", f"Your push was rejected because it contains files larger than {limit} bytes: {path}"
            )
        if path == "README.md" and (errors := problems(content.decode())[0]):
            raise Refusal(400, "", f"Invalid metadata in README.md: {'; '.join(errors)}")
        files[path] = File(content, large=False)
    elif key == "lfsFile":
        if value["oid"] not in call.repository.objects:
            said = "Your push was rejected because an LFS pointer pointed to a file that does not exist."
            raise Refusal(400, "", f"{said} Offending file: - {path}")
        files[path] = File(call.repository.objects[value["oid"]], large=True)
    elif key == "deletedFile":
        if files.pop(path, None) is None:
            raise Refusal(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
    elif key == "deletedFolder":
        inside = [name for name in files if name.startswith(path.rstrip("/") + "/")]
        if not inside:
            raise Refusal(404, "EntryNotFound", f"A folder with this name doesn't exist: {path}")
        for name in inside:
            del files[name]
    else:
        raise Refusal(400, "", f"Unknown operation: {key}")

"""What the stand-in answers to those who read: info, refs, trees, paths, commits, and files whole or by range."""

import re
from collections.abc import Iterator
from typing import Any

from tests.hub.repository import Commit, git_blob
from tests.hub.state import DATE, Call
from tests.hub.wire import Answer, Refusal, as_json


def info(call: Call) -> Answer:
    """Metadata of a repository at a revision."""
    repository, commit = call.repository, call.commit()
    facts = {
        "_id": "0",
        "id": repository.id,
        "author": repository.namespace,
        "sha": commit.sha,
        "lastModified": DATE,
        "createdAt": DATE,
        "private": repository.access == "private",
        "gated": "auto" if repository.access == "gated" else False,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [{"rfilename": path} for path in sorted(commit.files)],
    }
    return Answer(body=as_json(facts))


def refs(call: Call) -> Answer:
    """Branches, tags, what the Hub converted, and the heads of pull requests where they are asked for."""
    repository = call.repository
    converts = {name: sha for name, sha in repository.branches.items() if name.startswith("refs/convert/")}
    branches = {name: sha for name, sha in repository.branches.items() if name not in converts}
    listed = {
        "branches": [_ref(name, f"refs/heads/{name}", sha) for name, sha in branches.items()],
        "converts": [_ref(name.removeprefix("refs/convert/"), name, sha) for name, sha in converts.items()],
        "tags": [_ref(name, f"refs/tags/{name}", sha) for name, sha in repository.tags.items()],
        "pullRequests": [_ref(name.removeprefix("refs/pr/"), name, sha) for name, sha in repository.pulls.items()],
    }
    return Answer(body=as_json(listed if call.request.flag("include_prs") else {**listed, "pullRequests": []}))


def commits(call: Call) -> Answer:
    """The commits that led to a revision, newest first, page by page."""
    history, page = call.repository.history(call.commit().sha), int(call.request.query.get("p", ["0"])[-1])
    size = call.hub.limits.page
    entries = [
        {"id": c.sha, "title": c.title, "message": c.description, "date": DATE, "authors": [{"user": c.author}]}
        for c in history[page * size : (page + 1) * size]
    ]
    following = f'<{call.hub.url}{call.request.path}?p={page + 1}>; rel="next"'
    return Answer(body=as_json(entries), headers={"Link": following} if len(history) > (page + 1) * size else {})


def tree(call: Call) -> Answer:
    """Files and folders below a folder, or directly in it."""
    commit, path = call.commit(), call.parts["path"]
    folder = f"{path}/" if path else ""
    inside = [path for path in sorted(commit.files) if path.startswith(folder)]
    if folder and not inside:
        raise Refusal(404, "EntryNotFound", f"{path} does not exist on {call.parts['revision']}")
    listed = dict.fromkeys(above for path in inside for above in _folders(path) if above.startswith(folder))
    deep = call.request.flag("recursive")
    entries = [
        path for path in (*listed, *inside) if path + "/" != folder and (deep or "/" not in path[len(folder) :])
    ]
    return Answer(body=as_json([_entry(commit, path, call.request.flag("expand")) for path in entries]))


def paths_info(call: Call) -> Answer:
    """Metadata of the paths that are there, of those that were asked for."""
    commit = call.commit()
    known = {*commit.files, *(folder for path in commit.files for folder in _folders(path))}
    wanted = [path for path in call.request.query.get("paths", []) if path in known]
    return Answer(body=as_json([_entry(commit, path, call.request.flag("expand")) for path in wanted]))


def resolve(call: Call) -> Answer:
    """A file, or a range of it."""
    request = call.request
    if not call.hub.may_read(call.repository, request.token):
        raise Refusal(403 if request.token else 401, "GatedRepo", f"Access to {call.repository.id} is restricted")
    commit = call.commit()
    headers = {"X-Repo-Commit": commit.sha, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    file = commit.files.get(call.parts["path"])
    if file is None:
        return Refusal(404, "EntryNotFound", "Entry not found").answer(headers)
    headers["ETag"] = f'"{file.etag}"'
    if file.large:
        headers |= {"X-Linked-ETag": f'"{file.etag}"', "X-Linked-Size": str(len(file.content))}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if wanted is None:
        return Answer(200, file.content, headers)
    size, first = len(file.content), int(wanted[1])
    if first >= size:
        return Answer(416, b"", {**headers, "Content-Range": f"bytes */{size}"})
    last = min(int(wanted[2] or size), size - 1)
    return Answer(206, file.content[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{size}"})


def _ref(name: str, ref: str, sha: str) -> dict[str, str]:
    return {"name": name, "ref": ref, "targetCommit": sha}


def _folders(path: str) -> Iterator[str]:
    """The folders that a path lies in, outermost first."""
    names = path.split("/")[:-1]
    return ("/".join(names[: depth + 1]) for depth in range(len(names)))


def _entry(commit: Commit, path: str, expand: bool) -> dict[str, Any]:
    """A file or folder as trees list it."""
    last = {"lastCommit": {"id": commit.sha, "title": commit.title, "date": DATE}} if expand else {}
    file = commit.files.get(path)
    if file is None:
        return {"type": "directory", "oid": git_blob(path.encode()), "size": 0, "path": path, **last}
    size = len(file.content)
    large = {"lfs": {"oid": file.sha256, "size": size, "pointerSize": len(file.pointer)}} if file.large else {}
    return {"type": "file", "oid": file.blob, "size": size, "path": path, **large, **last}

"""The stand-in's discussions and pull requests: opened, listed, looked at, opened and closed again, merged."""

from typing import Any

from tests.hub.repository import Discussion, File
from tests.hub.state import DATE, Call
from tests.hub.wire import Answer, Refusal, as_json


def open_pull(call: Call, title: str, description: str, base: str, start: str, status: str = "open") -> Discussion:
    """Open a pull request against a branch, with its head at a commit."""
    pull = Discussion(len(call.repository.discussions) + 1, title, call.account.name, status, base, start)
    pull.events.append(_event(pull, call.account.name, "comment", _said(description)))
    call.repository.discussions.append(pull)
    call.repository.pulls[pull.ref] = start
    return pull


def create(call: Call) -> Answer:
    """Open a discussion, or a pull request as a draft against ``main``."""
    asked = call.request.json
    call.must_write(pull=True)
    if not 3 <= len(asked["title"]) <= 200:
        raise Refusal(400, "", "The title must be 3 to 200 characters long")
    if asked.get("pullRequest"):
        made = open_pull(call, asked["title"], asked["description"], "main", call.repository.head.sha, "draft")
    else:
        made = Discussion(len(call.repository.discussions) + 1, asked["title"], call.account.name)
        made.events.append(_event(made, made.author, "comment", _said(asked["description"])))
        call.repository.discussions.append(made)
    return Answer(body=as_json({"num": made.num, "url": f"{call.page}/discussions/{made.num}"}))


def listing(call: Call) -> Answer:
    """The discussions that fit, newest first, page by page."""
    query = {name: values[-1] for name, values in call.request.query.items()}
    kinds = {"pull_request": (True,), "discussion": (False,)}.get(query.get("type", "all"), (True, False))
    states = {"open": ("open", "draft"), "closed": ("closed", "merged")}.get(query.get("status", "all"))
    fitting = [
        discussion
        for discussion in reversed(call.repository.discussions)
        if (discussion.base is not None) in kinds
        and (states is None or discussion.status in states)
        and query.get("author", discussion.author) == discussion.author
    ]
    size = call.hub.limits.page
    start = int(query.get("p", "0")) * size
    shown = [_head(call, discussion) for discussion in fitting[start : start + size]]
    return Answer(body=as_json({"discussions": shown, "count": len(fitting), "start": start}))


def details(call: Call) -> Answer:
    """Everything about a discussion or a pull request."""
    found = _found(call)
    told = {**_head(call, found), "events": [*found.events, *_commits(call, found)]}
    if found.base is not None:
        merged = {"mergeCommitId": found.merged} if found.merged else {}
        changed, conflicts = _changes(call, found)
        told |= {
            "filesWithConflicts": conflicts,
            "changes": {"base": f"refs/heads/{found.base}", **merged},
            "diff": "".join(f"diff --git a/{path} b/{path}\n" for path in changed),
        }
    return Answer(body=as_json(told))


def comment(call: Call) -> Answer:
    """Add a comment."""
    found = _found(call)
    found.events.append(_event(found, call.account.name, "comment", _said(call.request.json["comment"])))
    return Answer(body=as_json({"newMessage": found.events[-1]}))


def rename(call: Call) -> Answer:
    """Give another title."""
    found, title = _editable(call), call.request.json["title"]
    found.events.append(_event(found, call.account.name, "title-change", {"from": found.title, "to": title}))
    found.title = title
    return Answer(body=as_json({"newTitle": found.events[-1]}))


def change_status(call: Call) -> Answer:
    """Open or close; what is merged stays merged."""
    found, status = _editable(call), call.request.json["status"]
    if found.status == "merged" or status not in ("open", "closed"):
        raise Refusal(400, "", f"Cannot go from {found.status} to {status}")
    found.status = status
    found.events.append(_event(found, call.account.name, "status-change", {"status": status}))
    return Answer(body=as_json({"newStatus": found.events[-1]}))


def merge(call: Call) -> Answer:
    """Put all that a pull request changes onto its branch, as one commit."""
    call.must_write()
    pull = _found(call)
    if pull.base is None or pull.status != "open":
        raise Refusal(400, "", f"Only an open pull request can be merged, not one that is {pull.status}")
    changed, conflicts = _changes(call, pull)
    if conflicts:
        raise Refusal(409, "", f"Conflicts in {', '.join(conflicts)}")
    head = call.commit(pull.base)
    after = {path: file for path, file in {**head.files, **changed}.items() if file is not None}
    title = f"{pull.title} (#{pull.num})"
    pull.merged = call.repository.record(after, pull.base, head.sha, title, author=call.account.name)
    pull.status = "merged"
    pull.events.append(_event(pull, call.account.name, "status-change", {"status": "merged"}))
    return Answer(body=as_json({}))


def _found(call: Call) -> Discussion:
    number = int(call.parts["num"])
    if not 1 <= number <= len(call.repository.discussions):
        raise Refusal(404, "", "Discussion not found")
    return call.repository.discussions[number - 1]


def _editable(call: Call) -> Discussion:
    """The discussion, where it is the account's own or the repository's writers ask."""
    found = _found(call)
    call.must_write(pull=call.account.name == found.author)
    return found


def _changes(call: Call, pull: Discussion) -> tuple[dict[str, File | None], list[str]]:
    """What a pull request changes since it began, and which of it its branch has since changed otherwise."""
    assert pull.start is not None
    before, ours = call.commit(pull.start).files, call.commit(pull.ref).files
    paths = sorted({*before, *ours})
    changed = {path: ours.get(path) for path in paths if ours.get(path) != before.get(path)}
    theirs = before if pull.status == "merged" else call.commit(pull.base).files
    return changed, [path for path, file in changed.items() if theirs.get(path) not in (before.get(path), file)]


def _commits(call: Call, pull: Discussion) -> list[dict[str, Any]]:
    """The commits of a pull request as its events."""
    if pull.base is None:
        return []
    history = call.repository.history(pull.ref)
    own = history[: next(n for n, commit in enumerate(history) if commit.sha == pull.start)]
    return [_event(pull, c.author, "commit", {"subject": c.title, "oid": c.sha}) for c in reversed(own)]


def _head(call: Call, discussion: Discussion) -> dict[str, Any]:
    """A discussion as listings show it."""
    return {
        "num": discussion.num,
        "title": discussion.title,
        "status": discussion.status,
        "author": {"name": discussion.author},
        "createdAt": DATE,
        "isPullRequest": discussion.base is not None,
        "repo": {"name": call.repository.id, "type": call.repository.kind.removesuffix("s")},
    }


def _event(discussion: Discussion, author: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    number = f"{discussion.num:012x}{len(discussion.events):012x}"
    return {"id": number, "type": kind, "createdAt": DATE, "author": {"name": author}, "data": data}


def _said(text: str) -> dict[str, Any]:
    return {"edited": False, "hidden": False, "latest": {"raw": text, "html": text, "updatedAt": DATE}, "history": []}

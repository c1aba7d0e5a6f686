"""What the stand-in answers about accounts, and about repositories as a whole: made, deleted, written to by whom."""

from typing import cast

from tests.hub.repository import File, Kind, Repository
from tests.hub.state import Call
from tests.hub.wire import Answer, Refusal, as_json

_ATTRIBUTES = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"


def whoami(call: Call) -> Answer:
    """Whose token it is, and what it may do."""
    account = call.account
    orgs = [
        {"type": "org", "id": "1", "name": name, "fullname": name, "roleInOrg": role}
        for name, role in account.orgs.items()
    ]
    token = {"displayName": "test", "role": account.role, "createdAt": "2026-01-01T00:00:00.000Z"}
    told = {"type": "user", "id": "0", "name": account.name, "fullname": account.name, "isPro": False, "orgs": orgs}
    return Answer(body=as_json({**told, "auth": {"type": "access_token", "accessToken": token}}))


def create(call: Call) -> Answer:
    """Make a repository with a first commit that holds its ``.gitattributes``."""
    asked, account = call.request.json, call.account
    kind = cast(Kind, f"{asked.get('type') or 'model'}s")
    namespace = asked.get("organization") or account.name
    name = f"{namespace}/{asked['name']}"
    page = f"{call.hub.url}/{'' if kind == 'models' else kind + '/'}{name}"
    if not account.may_write_in(namespace):
        raise Refusal(403, "", f'You don\'t have the rights to create a {kind[:-1]} under the namespace "{namespace}"')
    if (kind, name) in call.hub.repositories:
        said = f"You already created this {kind[:-1]} repo"
        return Answer(409, as_json({"error": said, "url": page}), {"X-Error-Message": said})
    limit = call.hub.limits.repositories
    if limit is not None and sum(r.namespace == namespace for r in call.hub.repositories.values()) >= limit:
        raise Refusal(429, "", "You have exceeded the rate limit for repository creation. Please try again later.")
    repository = Repository(kind, name, "private" if asked.get("visibility") == "private" else "open")
    repository.record({".gitattributes": File(_ATTRIBUTES, large=False)}, "main", None, "initial commit")
    call.hub.repositories[kind, name] = repository
    return Answer(body=as_json({"url": page, "name": name, "id": "0"}))


def delete(call: Call) -> Answer:
    """Take a repository away."""
    asked = call.request.json
    kind = cast(Kind, f"{asked.get('type') or 'model'}s")
    namespace = asked.get("organization") or call.account.name
    if not call.account.may_write_in(namespace):
        raise Refusal(403, "", "You don't have the rights to delete this repository")
    if call.hub.repositories.pop((kind, f"{namespace}/{asked['name']}"), None) is None:
        raise Refusal(404, "RepoNotFound", "Repository not found")
    return Answer(body=as_json({}))


def auth_check(call: Call) -> Answer:
    """Whether this token may read a repository's files, or write to it."""
    if call.parts.get("write"):
        call.must_write()
    elif not call.hub.may_read(call.repository, call.request.token):
        raise Refusal(403 if call.request.token else 401, "GatedRepo", f"Access to {call.repository.id} is restricted")
    return Answer(body=as_json({}))

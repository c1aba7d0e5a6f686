"""How files get into the stand-in's large file storage: which ones do, and where to put them, whole or in parts."""

import base64
import hashlib
from fnmatch import fnmatch
from typing import Any

from tests.hub.repository import LARGE
from tests.hub.state import Call
from tests.hub.wire import Answer, Refusal, as_json


def preupload(call: Call) -> Answer:
    """How each file is to travel: by large file storage, or in the commit; or not at all, if it is to be ignored."""
    call.must_write(pull=call.request.flag("create_pr") or call.parts["revision"].startswith("refs/pr/"))
    commit, ignored = call.commit(), call.request.json.get("gitIgnore")
    if ignored is None and ".gitignore" in commit.files:
        ignored = commit.files[".gitignore"].content.decode()
    patterns = [line.strip() for line in (ignored or "").splitlines() if line.strip() and not line.startswith("#")]
    files = []
    for asked in call.request.json["files"]:
        path, there = asked["path"], commit.files.get(asked["path"])
        binary = b"\0" in base64.b64decode(asked["sample"])
        large = path.endswith(LARGE) or asked["size"] > call.hub.limits.regular or binary
        names = (path, path.rsplit("/", 1)[-1])
        files.append(
            {
                "path": path,
                "uploadMode": "lfs" if large else "regular",
                "shouldIgnore": any(fnmatch(name, pattern) for pattern in patterns for name in names),
                "oid": there.etag if there else None,
            }
        )
    return Answer(body=as_json({"files": files, "commitOid": commit.sha}))


def batch(call: Call) -> Answer:
    """Where to put objects of large file storage; nothing to do for those that are there."""
    ref = call.request.json.get("ref", {}).get("name")
    pull = ref is None or ref.startswith("refs/pr/")
    if pull and not call.hub.limits.foreign and not call.hub.may_write(call.repository, call.request.token):
        raise Refusal(403, "", "Authorization error.")
    call.must_write(pull=pull)
    asked = call.request.json["objects"]
    _check_quota(call, sum(wanted["size"] for wanted in asked if wanted["oid"] not in call.repository.objects))
    told = []
    for wanted in asked:
        answer: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in call.repository.objects:
            answer["actions"] = _actions(call, wanted["oid"], wanted["size"], call.request.json["transfers"])
        told.append(answer)
    return Answer(body=as_json({"transfer": "basic", "objects": told}))


def put(call: Call) -> Answer:
    """Take an object. Whoever knows the address may, as with the addresses that the Hub signs."""
    _keep(call, call.parts["oid"], call.request.body)
    return Answer()


def put_part(call: Call) -> Answer:
    """Take one part of an object."""
    call.hub.parts[call.parts["oid"], int(call.parts["part"])] = call.request.body
    return Answer(headers={"ETag": f'"{hashlib.md5(call.request.body).hexdigest()}"'})


def complete(call: Call) -> Answer:
    """Put an object together from its parts."""
    named = call.request.json["parts"]
    numbers = [part["partNumber"] for part in named]
    content = [call.hub.parts.get((call.parts["oid"], number)) for number in numbers]
    if numbers != list(range(1, len(named) + 1)) or None in content:
        raise Refusal(400, "", "Parts are missing")
    _keep(call, call.parts["oid"], b"".join(piece for piece in content if piece is not None))
    return Answer(body=as_json({}))


def verify(call: Call) -> Answer:
    """Say whether an object is there, and of the size that the client says."""
    said = call.request.json
    if len(call.repository.objects.get(said["oid"], b"")) != said["size"]:
        raise Refusal(404, "", "Object not found, or of another size")
    return Answer(body=as_json({}))


def _keep(call: Call, oid: str, content: bytes) -> None:
    if call.place is None:
        raise Refusal(404, "", "No such address")
    if hashlib.sha256(content).hexdigest() != oid:
        raise Refusal(400, "", "The content does not have this SHA-256")
    call.place.objects[oid] = content


def _actions(call: Call, oid: str, size: int, transfers: list[str]) -> dict[str, Any]:
    repository = f"{call.repository.kind}/{call.repository.id}"
    place = f"{call.hub.url}/lfs/{repository}/{oid}"
    verify = {"href": f"{call.hub.url}/lfs-verify/{repository}", "header": {}}
    part = call.hub.limits.part
    if part is None or size <= part or "multipart" not in transfers:
        return {"upload": {"href": place, "header": {}}, "verify": verify}
    count = -(-size // part)
    places = {f"{number:05d}": f"{place}/{number}" for number in range(1, count + 1)}
    return {"upload": {"href": f"{place}/complete", "header": {"chunk_size": str(part), **places}}, "verify": verify}


def _check_quota(call: Call, more: int) -> None:
    limit, repository = call.hub.limits.private, call.repository
    if limit is None or repository.access != "private":
        return
    theirs = [
        r for r in call.hub.repositories.values() if (r.namespace, r.access) == (repository.namespace, "private")
    ]
    if sum(len(content) for r in theirs for content in r.objects.values()) + more > limit:
        raise Refusal(
            403,
            "",
            "Private repository storage limit reached, please upgrade your plan to increase your private storage",
        )

"""A reference → the record of the picture that it leads to, with everything checked on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import cast

import anyio.to_thread

from drawthings_mcp.errors import InvalidImageError, UnknownNameError
from drawthings_mcp.faces import Phrase, Step, Text
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import open_original
from drawthings_mcp.library.records import ImageRecord, MediaKind
from drawthings_mcp.metadata.draw_things import build_made_metadata
from drawthings_mcp.quoting import key_of, read_path
from drawthings_mcp.references.importing import Resolved, import_bytes, import_path, keep_found
from drawthings_mcp.references.parsing import (
    ALLOWED,
    Reference,
    ReferenceForm,
    decode_data_uri,
    find_meant_id,
    parse_reference,
)
from drawthings_mcp.references.policy import (
    AttachedFile,
    ImportPolicy,
    find_attachment,
    list_attachments,
)
from drawthings_mcp.search.projects.project_file import ProjectFile
from drawthings_mcp.search.projects.project_file import parse_reference as parse_project_reference
from drawthings_mcp.tensors.picture_files import hash_file, open_regular_file
from drawthings_mcp.tensors.png import encode_png
from drawthings_mcp.validation import shorten

_COMPARED = 1_000
"""Pictures whose files' names are compared with one that is quoted."""
_NEWEST_SHOWN = 3
_ORDINALS = {1: "the newest", 2: "the second newest", 3: "the third newest"}
_FETCHED = "https://"
_PROJECT = "project://"
_BRINGING = frozenset({"path", "data", "web"})
"""Forms of references by which a client brings a picture in."""
_KIND_NAMES: Mapping[MediaKind, str] = {
    "a": "picture has been brought in",
    "v": "picture has been generated",
    "p": "picture has been found by a search",
    "i": "picture has been made from others",
}


async def resolve_reference(text: str, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    """The picture that a reference leads to; one from outside gets an id, the same for the same bytes.

    Parameters
    ----------
    text
        An id in any case, ``latest``, ``latest:a``, the absolute path or ``file://`` URI of a picture, the file name of
        a saved one, a preview that a client saved, a ``data:`` URI or an ``https://`` URL.

    Raises
    ------
    InvalidImageError
        It is no reference, may not be followed, or leads to no picture; one sentence with the next step.
    MissingFileError
        The picture is known, its file is gone; says how to get it again.
    UnknownNameError
        There is no such picture; carries the nearest ids.
    WebError
        It cannot be fetched.
    StorageError
        The catalog or the copy of a picture cannot be written.
    """
    reference = parse_reference(text)
    resolved = await _resolve(reference, catalog, policy)
    if policy.own is not None and reference.form in _BRINGING and resolved.record.kind == "a":
        policy.own.add(resolved.record.id)
    return resolved


async def _resolve(reference: Reference, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    if reference.form == "web":
        fetched = await policy.fetch(reference.value, policy.max_download_bytes, policy.download_seconds)
        name = "The picture of the URL"
        return await anyio.to_thread.run_sync(import_bytes, fetched.data, name, reference.value, catalog, policy)
    resolved = await anyio.to_thread.run_sync(_RESOLVERS[reference.form], reference.value, catalog, policy)
    if resolved.record.path is not None:
        return resolved
    record = resolved.record
    if record.origin.startswith(_PROJECT):
        return await anyio.to_thread.run_sync(_keep_from_project, record, catalog, policy)
    fetched = await policy.fetch(record.origin, policy.max_download_bytes, policy.download_seconds)
    return await anyio.to_thread.run_sync(keep_found, fetched.data, record, catalog, policy)


def _keep_from_project(record: ImageRecord, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    data, oddity = _read_project_picture(record.origin)
    kept = keep_found(data, record, catalog, policy)
    return Resolved(kept.record, (*([f"{record.id} {oddity}"] if oddity else []), *kept.notes))


def _read_project_picture(origin: str) -> tuple[bytes, str]:
    """The picture at ``project://<file>#<id>`` as a file, and what the caller might not expect; empty for nothing."""
    path, entry_id = parse_project_reference(origin)
    with ProjectFile(path) as project:
        try:
            pixels = project.read_image(entry_id)
        except InvalidImageError:
            thumbnail = project.read_thumbnail(entry_id, full=True)
            if thumbnail is None:
                raise
            return thumbnail, "is the app's preview: the project does not keep the picture any more"
    height, width = pixels.shape[:2]
    return encode_png(pixels, build_made_metadata((width, height))), ""


def _resolve_id(image_id: str, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    return _use(catalog.get(image_id), catalog, policy)


def _resolve_latest(asked: str, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    kind, place = cast(MediaKind, asked[0]), int(asked[1:])
    name = f"latest:{kind}{place if place > 1 else ''}" if asked != "v1" else "latest"
    attachments = list_attachments(policy.attachments) if kind == "a" and policy.attachments else []
    records = _list_newest(kind, place + len(attachments), catalog, policy)
    found = (_rank(attachments, place, records) if attachments else records)[place - 1 : place]
    record = found[0] if found else None
    if isinstance(record, AttachedFile):
        return _guess(record, name, place, catalog, policy)
    if record is not None:
        return _use(record, catalog, policy)
    hint = Text("")
    if kind == "a" and policy.attachments_hint is not None:
        step = Step("allow_folder", folder=str(policy.attachments_hint))
        hint = Text(", or {step} to let latest:a find LM Studio's attachments", step=step)
    what = _KIND_NAMES[kind] if place == 1 else f"{_KIND_NAMES[kind]} so often"
    problem = Text(
        "There is no {name}: no {kind} yet; give {allowed}{hint}.",
        name=name,
        kind=Phrase(what),
        allowed=Phrase(ALLOWED),
        hint=hint,
    )
    raise UnknownNameError(problem, name=name)


def _list_newest(kind: MediaKind, count: int, catalog: ImageCatalog, policy: ImportPolicy) -> list[ImageRecord]:
    """The newest pictures of a kind; one of several clients has its own first, and of what was brought in no others."""
    own = policy.own.list_newest(kind)[:count] if policy.own is not None else []
    listed = [catalog.get(image_id) for image_id in own]
    if policy.own is None or kind != "a":
        listed += [one for one in catalog.list_images((kind,), limit=count + len(own)) if one.id not in own]
    return listed[:count]


def _rank(
    attachments: Sequence[AttachedFile], count: int, records: Sequence[ImageRecord]
) -> list[AttachedFile | ImageRecord]:
    """What users brought, by when they did, newest first: at least ``count``, if there are as many.

    What was attached and has an id already counts once, as the attachment.
    """
    attached = {attachment.path: attachment for attachment in attachments}
    hashes = {_hash(attachment.path) for attachment in attachments[:count]}
    others = [record for record in records if record.path not in attached and record.sha256 not in hashes]
    dated: list[tuple[datetime, AttachedFile | ImageRecord]] = [(one.when, one) for one in attachments]
    dated += [(record.created, record) for record in others]
    return [one for _, one in sorted(dated, key=itemgetter(0), reverse=True)]


def _hash(path: Path) -> str:
    try:
        with open_regular_file(path, follows_links=False) as file:
            return hash_file(file)
    except InvalidImageError:
        return ""


def _guess(attachment: AttachedFile, name: str, place: int, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    resolved = import_path(attachment.path, catalog, policy)
    note = Text(
        "{name} is a guess: {which} attachment in LM Studio, {file} of {when:%Y-%m-%d %H:%M}, is {id}",
        name=Phrase(name),
        which=Phrase(_ORDINALS.get(place, f"the {place}th newest")),
        file=attachment.path.name,
        when=attachment.when.astimezone(),
        id=resolved.record.id,
    )
    return Resolved(resolved.record, (note, *resolved.notes))


def _resolve_path(text: str, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    path = Path(text)
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise InvalidImageError(f"The home folder in {shorten(text)} is not known; give an absolute path.") from error
    if not _may_exist(path):
        path = Path(read_path(str(path)))
    # What we saved may lie anywhere: the command line writes where the user says.
    known = catalog.find_by_path(path)
    if known is not None and known.kind != "a" and _may_exist(path):
        return _use(known, catalog, policy)
    return import_path(path, catalog, policy)


def _may_exist(path: Path) -> bool:
    """Whether a file is there, or its folder does not say; what is wrong then, opening it tells."""
    try:
        return path.exists()
    except OSError:
        return True


def _resolve_name(name: str, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    record = catalog.find_by_name(name) or _find_as_read(name, catalog)
    if record is not None:
        return _use(record, catalog, policy)
    meant = find_meant_id(name)
    if meant is not None:
        return _resolve_id(meant, catalog, policy)
    attachment = find_attachment(policy.attachments, name) if policy.attachments else None
    if attachment is not None:
        return import_path(attachment.path, catalog, policy)
    newest = [image.id for image in catalog.list_images(limit=_NEWEST_SHOWN)]
    ids = f" (newest: {', '.join(newest)})" if newest else ""
    raise UnknownNameError(f"There is no picture {shorten(name)}{ids}; give {ALLOWED}.", name=name, nearest=newest)


def _find_as_read(name: str, catalog: ImageCatalog) -> ImageRecord | None:
    """The newest picture whose file's name a model read so: quoted and cut, or with line breaks escaped."""
    record = catalog.find_by_name(read_path(name))
    if record is not None or not name.startswith("“"):
        return record
    recent, read = catalog.list_images(limit=_COMPARED), key_of(name)
    return next((image for image in recent if image.path and key_of(image.path.name) == read), None)


def _resolve_data(uri: str, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    data = decode_data_uri(uri, policy.max_data_bytes)
    return import_bytes(data, "The picture of the data: URI", "data:", catalog, policy)


def _resolve_origin(uri: str, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    record = catalog.find_by_origin(uri)
    if record is None:
        text = "Nothing was found at {uri} yet: {step}, which gives pictures of projects ids."
        raise UnknownNameError(Text(text, uri=Phrase(shorten(uri)), step=Step("search")), name=uri)
    return _use(record, catalog, policy)


def _use(record: ImageRecord, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    """A known picture, if its file is still what it was; else what is there now, under an id of its own.

    What was found on the web or in a project and has no file yet is given as it is, to be fetched.
    """
    if record.path is None and record.origin.lower().startswith((_FETCHED, _PROJECT)):
        return Resolved(record)
    with open_original(record) as file:
        if not record.sha256 or hash_file(file) == record.sha256:
            return Resolved(record)
    assert record.path is not None
    changed = import_path(record.path, catalog, policy)
    text = "{path} has changed since it became {id}; as it is now it is {now}"
    note = Text(text, path=record.path, id=record.id, now=changed.record.id)
    return Resolved(changed.record, (note, *changed.notes))


_RESOLVERS: Mapping[ReferenceForm, Callable[[str, ImageCatalog, ImportPolicy], Resolved]] = {
    "id": _resolve_id,
    "latest": _resolve_latest,
    "path": _resolve_path,
    "data": _resolve_data,
    "name": _resolve_name,
    "origin": _resolve_origin,
}

"""What the gallery's page asks for: pictures a page at a time, one with all that is known, and what is done with them.

Everything is JSON, read by the page's own modules; whatever is named is named by its id. Nothing here makes markup.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from drawthings_mcp.errors import DrawThingsError, InvalidInputError, UnknownNameError
from drawthings_mcp.references.policy import MAX_DATA_BYTES
from drawthings_mcp.server.access import get_caller
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.session import Session
from drawthings_mcp.server.sign_in import SignIns, write_cookie
from drawthings_mcp.studio.bin import UNDO_SECONDS, Bin

if TYPE_CHECKING:
    from drawthings_mcp.library.records import ImageRecord, MediaKind
    from drawthings_mcp.search.hits import Hit
    from drawthings_mcp.studio.studio import Studio
    from drawthings_mcp.tensors.pixels import ImageLike

_KINDS: tuple[MediaKind, ...] = ("a", "v", "i")
"""What the library shows by itself: what a search found elsewhere is there when it is searched for."""
_MOST = 200
_SEARCHED = 25
_FIRST_SEARCHED = 8
"""Hits of the first page, which somebody who types waits for; the wall asks for more at once."""
_BUDGET = 0.02
"""Seconds that each search but the first waits for news of the folders: the next letter asks again."""
_RENDERS = 20
_MANY_PIXELS = 16_000_000
_LARGE_AT_ONCE = 2
"""Pictures of so many pixels that are made small at once: each takes 300 MB at most while that goes on."""
_MAX_PROMPT = 300
_MAX_FOUND = 2_000
"""Hits whose small pictures are remembered, since they have no files of their own."""
_SEARCH = ("query", "like", "model", "lora", "size", "since", "until", "tag", "sort")
_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_KEPT = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Authorization, Cookie"}


def _speak_to_user(phrase: str | Callable[[Mapping[str, Any]], str]) -> Callable[[Mapping[str, Any]], str]:
    """A step in words for the user, whom a model would have to ask."""
    return lambda facts: (phrase if isinstance(phrase, str) else phrase(facts)).removeprefix("ask the user to ")


PAGE = replace(
    MCP,
    quotes=False,
    phrases={
        **{kind: _speak_to_user(phrase) for kind, phrase in MCP.phrases.items()},
        "generate": "make a picture",
        "list_models": "choose another model",
        "review": "open it",
        "search": "search for it",
        "upscale": "enlarge it in the chat",
    },
)
"""The words of the page, which shows texts of others as nothing but text."""

_Id = Annotated[str, StringConstraints(pattern=r"^[avpi][1-9][0-9]{0,11}$")]
_Ids = Annotated[list[_Id], Field(min_length=1, max_length=500)]
_Words = Annotated[list[Annotated[str, StringConstraints(max_length=100)]], Field(max_length=20)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PicturesAsked(_Asked):
    """Pictures that something is done with."""

    pictures: _Ids


class HidingAsked(PicturesAsked):
    """Pictures that are hidden, or shown again."""

    hidden: bool


class TagsAsked(PicturesAsked):
    """Tags that are added and taken off; ``rating`` 0 takes that off, None leaves it."""

    add: _Words = []
    remove: _Words = []
    rating: Annotated[int, Field(ge=0, le=5)] | None = None


class RenderAsked(_Asked):
    """A new picture; the rest is chosen, or said in a chat."""

    prompt: Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
    mode: str = "auto"
    model: str = "auto"
    image_format: str | None = None
    width: int | None = None
    height: int | None = None
    variants: int = 1
    canvas: _Id | None = None
    mask: _Id | None = None


class SignInAsked(_Asked):
    """The code of a link, or a token."""

    code: Annotated[str, StringConstraints(max_length=200)] = ""
    token: Annotated[str, StringConstraints(max_length=200)] = ""


_AskedT = TypeVar("_AskedT", bound=_Asked)
_Handler = Callable[[Request], Awaitable[Response]]


def _answer(work: Callable[[Request], Awaitable[Any]]) -> _Handler:
    """A handler that answers with JSON, and says what was wrong in the same way."""

    async def handle(request: Request) -> Response:
        try:
            answer = await work(request)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the request"
            return JSONResponse({"error": f"{place}: {first['msg']}."}, 400, _HEADERS)
        except (UnknownNameError, FileNotFoundError) as error:
            return JSONResponse({"error": PAGE.word(error)}, 404, _HEADERS)
        except DrawThingsError as error:
            return JSONResponse({"error": PAGE.word(error)}, 400, _HEADERS)
        return answer if isinstance(answer, Response) else JSONResponse(answer, headers=_HEADERS)

    return handle


async def _read(request: Request, kind: type[_AskedT]) -> _AskedT:
    """The body of a request; JSON under its own name is nothing that a form of another page can send."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise InvalidInputError("The request is no JSON.")
    return kind.model_validate_json(await request.body() or b"{}")


class GalleryRoutes:
    """The page's requests.

    Parameters
    ----------
    session
        The server's; each caller has its own view of it.
    sign_ins
        Lets browsers in.
    """

    def __init__(self, session: Session, sign_ins: SignIns, undo_seconds: float = UNDO_SECONDS) -> None:
        from drawthings_mcp.attachments.thumbnails import Thumbnails

        studio = session.studio
        self._session = session
        self._sign_ins = sign_ins
        self._undo_seconds = undo_seconds
        self._bin = Bin(studio.gallery, studio.finder, session.tasks, undo_seconds)
        self._thumbnails = Thumbnails(studio.settings.state_dir)
        self._large = anyio.CapacityLimiter(_LARGE_AT_ONCE)
        self._found: OrderedDict[str, ImageLike] = OrderedDict()
        self._search_budget: float | None = None
        self._views: dict[object, Session] = {}

    def list_routes(self) -> list[Route]:
        """The routes below ``/gallery``."""
        routes: list[tuple[str, str, Callable[[Request], Awaitable[Any]]]] = [
            ("GET", "/state", self.tell_state),
            ("GET", "/pictures", self.list_pictures),
            ("POST", "/pictures", self.add_picture),
            ("GET", "/pictures/{id}", self.describe_picture),
            ("GET", "/thumbnails/{id}", self.send_thumbnail),
            ("POST", "/masks/{id}", self.add_mask),
            ("POST", "/tags", self.change_tags),
            ("POST", "/hidden", self.hide),
            ("POST", "/bin", self.put_in_bin),
            ("POST", "/bin/undo", self.take_from_bin),
            ("POST", "/folder", self.show_in_folder),
            ("GET", "/models", self.list_models),
            ("GET", "/renders", self.list_renders),
            ("POST", "/renders", self.render),
            ("DELETE", "/renders/{id}", self.stop_render),
            ("GET", "/renders/{id}/preview", self.send_preview),
            ("POST", "/link", self.make_link),
        ]
        return [Route(path, _answer(work), methods=[method]) for method, path, work in routes]

    async def sign_in(self, request: Request) -> Response:
        """Sets a cookie for a code or a token."""

        async def work(_: Request) -> Response:
            asked = await _read(request, SignInAsked)
            value = self._sign_ins.redeem(asked.code, asked.token)
            if value is None:
                problem = "That link was used or is too old." if asked.code else "Nobody has that token."
                return JSONResponse({"error": problem}, 401, _HEADERS)
            return self._set_cookie(request, value)

        return await _answer(work)(request)

    async def sign_out(self, request: Request) -> Response:
        """Takes the cookie away."""
        self._sign_ins.end(request.headers.get("cookie", ""), request.headers.get("host", ""))
        return self._set_cookie(request, "")

    def _set_cookie(self, request: Request, value: str) -> Response:
        host = request.headers.get("host", "")
        outer = request.headers.get("origin", "").partition(":")[0]  # a proxy may do the encryption
        cookie = write_cookie(value, host, is_secure="https" in (request.url.scheme, outer))
        return JSONResponse({}, headers={**_HEADERS, "Set-Cookie": cookie})

    async def make_link(self, _: Request) -> Any:
        """A code for a link, for who has signed in already or has a token."""
        return {"code": self._sign_ins.make_code()}

    async def tell_state(self, request: Request) -> Any:
        """What the page shows around the pictures."""
        tags = await self._session.studio.finder.list_tags()
        return {
            "tags": tags,
            "is_local": not get_caller(request.scope).is_remote,
            "undo_seconds": self._undo_seconds,
            "max_bytes": MAX_DATA_BYTES,
        }

    async def list_pictures(self, request: Request) -> Any:
        """A page of the library, newest first, or of what a search finds; ``cursor`` leads to the next."""
        asked = request.query_params
        cursor = _parse_number(asked.get("cursor"), "cursor")
        source = asked.get("source", "")
        wanted = {name: asked[name].strip()[:1000] for name in _SEARCH if asked.get(name, "").strip()}
        shown = asked.get("shown", "")
        absent = await self._bin.list_absent()
        if shown == "hidden":
            return await self._list_hidden(absent)
        if wanted or source:
            return await self._search(request, wanted, source or "all", cursor or 0, absent)
        kinds: tuple[MediaKind, ...] = tuple(kind for kind in _KINDS if kind in asked.get("kinds", "avi"))
        catalog = await self._session.studio.gallery.open_catalog()
        page: list[ImageRecord] = []
        limit = min(_parse_number(asked.get("limit"), "limit") or _MOST, _MOST)
        while len(page) < limit:
            list_page = partial(catalog.list_page, kinds, limit - len(page), cursor)
            records, cursor = await anyio.to_thread.run_sync(list_page)
            page += [record for record in records if record.id not in absent]
            if cursor is None:
                break
        total = await anyio.to_thread.run_sync(catalog.count_images, kinds)
        return {
            "pictures": list(map(_summarise, page)),
            "cursor": cursor,
            "total": max(total - sum(image_id[0] in kinds for image_id in absent), len(page)),
            "notes": [],
        }

    async def _list_hidden(self, absent: Mapping[str, bool]) -> Any:
        hidden = [image_id for image_id, is_binned in absent.items() if not is_binned]
        records = await self._get_records(hidden)
        records.sort(key=lambda record: record.created, reverse=True)
        return {"pictures": list(map(_summarise, records)), "cursor": None, "total": len(records), "notes": []}

    async def _search(
        self, request: Request, wanted: dict[str, str], source: str, offset: int, absent: Mapping[str, bool]
    ) -> Any:
        if "like" in wanted:
            _check_id(wanted["like"])
        limit = _SEARCHED if offset else _FIRST_SEARCHED
        arguments: dict[str, Any] = {**wanted, "source": source, "offset": offset, "limit": limit}
        page = await self._view(request).finder.search(**arguments, budget=self._search_budget)
        self._search_budget = _BUDGET
        shown = [hit for hit in page.hits if hit.id not in absent]
        for hit in shown:
            self._remember(hit)
        after = offset + len(page.hits)
        goes_on = len(page.hits) == limit and (after < page.total or not page.is_exact)
        return {
            "pictures": [_summarise_hit(hit) for hit in shown],
            "cursor": after if goes_on else None,
            "total": page.total - (len(page.hits) - len(shown)),
            "is_exact": page.is_exact,
            "notes": [PAGE.word(note) for note in (*page.explanation, *page.notes)],
            "is_current": page.is_current and not page.pending,
        }

    def _remember(self, hit: Hit) -> None:
        if hit.record.path is None:
            self._found[hit.id] = hit.source
            while len(self._found) > _MAX_FOUND:
                self._found.popitem(last=False)

    async def _get_records(self, ids: Iterable[str]) -> list[ImageRecord]:
        catalog = await self._session.studio.gallery.open_catalog()
        return await anyio.to_thread.run_sync(lambda: [catalog.get(one) for one in ids if catalog.contains(one)])

    async def send_thumbnail(self, request: Request) -> Response:
        """A small picture; the same address always shows the same."""
        from drawthings_mcp.attachments.thumbnails import EDGES, MIME_TYPE

        image_id = _check_id(request.path_params["id"])
        edge = _parse_number(request.query_params.get("edge"), "edge")
        if edge not in EDGES:
            raise InvalidInputError(f"edge: one of {', '.join(map(str, EDGES))}.")
        gallery = self._session.studio.gallery
        record = await anyio.to_thread.run_sync((await gallery.open_catalog()).get, image_id)
        tag = f'"{record.sha256 or record.id}-{edge}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={**_HEADERS, **_KEPT, "ETag": tag})

        def make() -> bytes:
            picture = self._found.get(image_id, b"") if record.path is None else record.source
            return self._thumbnails.get(record.sha256, edge, lambda: picture)

        pixel_count = record.width * record.height or _MANY_PIXELS
        data = await anyio.to_thread.run_sync(make, limiter=self._large if pixel_count >= _MANY_PIXELS else None)
        return Response(data, headers={**_HEADERS, **_KEPT, "ETag": tag}, media_type=MIME_TYPE)

    async def describe_picture(self, request: Request) -> Any:
        """One picture with its recipe, tags, and what it was made from and what became of it."""
        from drawthings_mcp.studio.recipes import recipes_to_json

        studio = self._view(request)
        (picture,) = await studio.gallery.find_recipes([_check_id(request.path_params["id"])])
        record = picture.record
        catalog = await studio.gallery.open_catalog()
        ancestors = await anyio.to_thread.run_sync(catalog.list_ancestors, record.id)
        descendants = await anyio.to_thread.run_sync(catalog.list_descendants, record.id)
        siblings = await anyio.to_thread.run_sync(catalog.list_siblings, record)
        absent = await self._bin.list_absent()
        try:
            (tags,) = (await studio.finder.change_tags([record.id], [], [])).values()
        except DrawThingsError:
            tags = []  # its file is gone

        def tell(records: Iterable[ImageRecord]) -> list[dict[str, Any]]:
            return [_summarise(one, with_parents=True) for one in records if not absent.get(one.id)]

        return {
            **_summarise(record, with_parents=True),
            "recipe": await anyio.to_thread.run_sync(recipes_to_json, [picture]),
            "path": str(record.path or ""),
            "origin": record.origin,
            "is_here": record.path is not None and record.path.is_file(),
            "is_hidden": record.id in absent,
            "tags": tags,
            "ancestors": tell(ancestors),
            "siblings": tell(siblings),
            "descendants": tell(descendants),
            "notes": [PAGE.word(note) for note in picture.notes],
        }

    async def add_picture(self, request: Request) -> Any:
        """A picture that was dropped on the page, as ``aN``."""
        gallery = self._view(request).gallery
        record, notes = await gallery.add(await request.body())
        await self._session.studio.finder.mark_hidden([record.id], hidden=False)
        return {**_summarise(record), "notes": [PAGE.word(note) for note in notes]}

    async def add_mask(self, request: Request) -> Any:
        """A mask that was painted over a picture, as ``iN``."""
        gallery = self._view(request).gallery
        record = await gallery.keep_mask(_check_id(request.path_params["id"]), await request.body())
        return _summarise(record)

    async def change_tags(self, request: Request) -> Any:
        """Adds and takes off tags; the tags that each picture has then."""
        asked = await _read(request, TagsAsked)
        finder = self._view(request).finder
        return {"tags": await finder.change_tags(asked.pictures, asked.add, asked.remove, asked.rating)}

    async def hide(self, request: Request) -> Any:
        """Hides pictures, or shows them again."""
        asked = await _read(request, HidingAsked)
        ids = [record.id for record in await self._get_records(asked.pictures)]
        await self._session.studio.finder.mark_hidden(ids, hidden=asked.hidden)
        return {"pictures": ids}

    async def put_in_bin(self, request: Request) -> Any:
        """Puts pictures on their way into the bin."""
        asked = await _read(request, PicturesAsked)
        return {"pictures": await self._bin.put(asked.pictures), "undo_seconds": self._undo_seconds}

    async def take_from_bin(self, request: Request) -> Any:
        """Undoes that, for those that are not there yet."""
        asked = await _read(request, PicturesAsked)
        return {"pictures": await self._bin.take_back(asked.pictures)}

    async def show_in_folder(self, request: Request) -> Any:
        """Opens the folder of a picture on this machine, for who sits at it."""
        if get_caller(request.scope).is_remote:
            return PlainTextResponse("Folders are opened on the server's own machine only.", 403, _HEADERS)
        asked = await _read(request, PicturesAsked)
        record = (await self._session.studio.gallery.find(asked.pictures[:1])).pictures[0]
        assert record.path is not None
        await anyio.to_thread.run_sync(_show_in_folder, record.path)
        return {}

    async def list_models(self, request: Request) -> Any:
        """The models that the server has, those that are taken by default first."""
        listing = await self._view(request).list_catalog("models", limit=100)
        return {"models": [{"file": row.file, "name": row.name} for row in listing.rows]}

    async def list_renders(self, _: Request) -> Any:
        """The renders of all programs that are under way, and the newest others; newest first."""
        jobs = self._session.jobs
        rows = await jobs.list_rows(_MOST)
        return {"renders": [jobs.describe_row(row, PAGE) for row in rows if row.is_active or row in rows[:_RENDERS]]}

    async def render(self, request: Request) -> Any:
        """Begins a new picture, in the one queue for all."""
        from drawthings_mcp.jobs.job import Asker, Order
        from drawthings_mcp.params import GenerateParams

        asked = (await _read(request, RenderAsked)).model_dump(exclude_none=True)
        GenerateParams(**asked)  # what is wrong is said now
        # Each click is a wish of its own: whoever asks for the same again wants another one.
        asker = Asker("gallery", self._view(request), session=object())
        job = await self._session.jobs.start(Order("generate", asked), asker)
        job.is_handed_out = True
        return {"id": job.id}

    async def stop_render(self, request: Request) -> Any:
        """Asks for the end of a render of whatever program."""
        row = await self._session.jobs.request_stop(request.path_params["id"])
        if row is None:
            raise UnknownNameError("There is no such render.", name=request.path_params["id"], nearest=[])
        return row.to_json()

    async def send_preview(self, request: Request) -> Response:
        """What is there of a picture that this server renders."""
        from drawthings_mcp.attachments.thumbnails import MIME_TYPE, encode_glimpse

        preview = self._session.jobs.find_preview(request.path_params["id"])
        data = await anyio.to_thread.run_sync(encode_glimpse, *preview)
        return Response(data, 200 if data else 204, headers=_HEADERS, media_type=MIME_TYPE)

    def _view(self, request: Request) -> Studio:
        """The studio as the caller sees it."""
        caller = get_caller(request.scope)
        if caller not in self._views:
            self._views[caller] = self._session.open_to(caller, "gallery")
        return self._views[caller].studio


def _show_in_folder(path: Path) -> None:
    if sys.platform == "darwin":
        command = ["open", "-R", str(path)]
    else:
        command = ["xdg-open", str(path.parent)]
    try:
        subprocess.run(command, check=True, timeout=10, stdin=subprocess.DEVNULL, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise InvalidInputError(f"This machine has nothing that opens the folder {path.parent}.") from error


def _check_id(text: str) -> str:
    if not re.fullmatch(r"[avpi][1-9][0-9]{0,11}", text):
        raise UnknownNameError(f"There is no picture {text!r}.", name=text, nearest=[])
    return text


def _parse_number(text: str | None, name: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,15}", text):
        raise InvalidInputError(f"{name}: a whole number.")
    return int(text)


def _summarise(record: ImageRecord, *, with_parents: bool = False) -> dict[str, Any]:
    return {
        **({"parents": [parent._asdict() for parent in record.parents]} if with_parents else {}),
        "id": record.id,
        "width": record.width,
        "height": record.height,
        "prompt": record.prompt[:_MAX_PROMPT],
        "model": record.model,
        "created": record.created.isoformat(),
    }


def _summarise_hit(hit: Hit) -> dict[str, Any]:
    width, height = hit.size
    known = {**_summarise(hit.record), "prompt": hit.text[:_MAX_PROMPT], "model": hit.metadata.model}
    return {**known, "width": width, "height": height, "match": hit.match, "kind": hit.kind}

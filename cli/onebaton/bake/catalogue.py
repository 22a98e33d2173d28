"""The image catalogue: which images were baked from what, newest first.

One JSON object an image, under a key made from the image's name. Entries are never changed:
every bake gives its image a name of its own.
"""

from dataclasses import asdict
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator, AwareDatetime, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from onebaton.errors import UnreadableError
from onebaton.model import UNKNOWN_SCHEMA, Image, Schema
from onebaton.ports import Store

PREFIX = "images/"
#: Version of the entries' format.
FORMAT = 1


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


_Text = Annotated[str, AfterValidator(_not_empty)]
_STRICT = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True, slots=True, config=_STRICT)
class _SchemaEntry:
    shared: _Text
    local: _Text


@dataclass(frozen=True, slots=True, config=_STRICT)
class _Entry:
    """An image as it stands in a file."""

    format: int
    name: _Text
    digest: _Text
    version: _Text
    schema: _SchemaEntry
    platform: _Text
    base: _Text
    recipe_digest: _Text
    built_at: AwareDatetime
    packer_version: _Text


_ENTRY = TypeAdapter(_Entry)


class Catalogue:
    """Images by name in a store.

    Every method that reads raises :class:`~onebaton.errors.UnreadableError` on an entry it
    cannot read: a catalogue with a hole would have an image baked or a rollout planned anew.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, image: Image) -> None:
        """Enter an image that passed its trial; durable when this returns.

        :raises ValueError: if nobody asked its ``oned`` for the schema.
        """
        if image.schema == UNKNOWN_SCHEMA:
            raise ValueError(f"the schema of {image.name} is not known")
        entry = _ENTRY.validate_python({"format": FORMAT, **asdict(image)}, strict=False)
        self._store.write(_key(image.name), _ENTRY.dump_json(entry, indent=1) + b"\n")

    def get(self, name: str) -> Image | None:
        """The image of this name.

        :raises UnreadableError: if its entry cannot be read.
        """
        return self._read(_key(name))

    def list(self) -> tuple[Image, ...]:
        """All images, oldest first.

        :raises UnreadableError: if an entry cannot be read.
        """
        images = [image for key in self._store.keys(PREFIX) if (image := self._read(key))]
        return tuple(sorted(images, key=lambda image: (image.built_at, image.name)))

    def find(self, version: str) -> tuple[Image, ...]:
        """Images of an OpenNebula version, newest first.

        :raises UnreadableError: if an entry cannot be read.
        """
        return tuple(image for image in reversed(self.list()) if image.version == version)

    def latest(self, version: str) -> Image | None:
        """The newest image of an OpenNebula version.

        :raises UnreadableError: if an entry cannot be read.
        """
        return next(iter(self.find(version)), None)

    def by_digest(self, digest: str) -> Image | None:
        """The image with this content.

        :raises UnreadableError: if an entry cannot be read.
        """
        return next((image for image in reversed(self.list()) if image.digest == digest), None)

    def by_recipe(self, recipe_digest: str) -> tuple[Image, ...]:
        """Images baked from this recipe, newest first.

        :raises UnreadableError: if an entry cannot be read.
        """
        return tuple(
            image for image in reversed(self.list()) if image.recipe_digest == recipe_digest
        )

    def remove(self, name: str) -> None:
        """Forget an image; no error if it is not listed."""
        self._store.delete(_key(name))

    def _read(self, key: str) -> Image | None:
        content = self._store.read(key)
        if content is None:
            return None
        try:
            entry = _ENTRY.validate_json(content)
        except ValidationError as error:
            raise _unreadable(
                key,
                *(
                    f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
                    for problem in error.errors(include_url=False, include_input=False)
                ),
            ) from None
        if entry.format != FORMAT:
            raise _unreadable(key, f"format {entry.format}; this version reads {FORMAT}")
        if _key(entry.name) != key:
            raise _unreadable(key, f"it holds the entry of another image, {entry.name}")
        return Image(
            name=entry.name,
            digest=entry.digest,
            version=entry.version,
            schema=Schema(entry.schema.shared, entry.schema.local),
            platform=entry.platform,
            base=entry.base,
            recipe_digest=entry.recipe_digest,
            built_at=entry.built_at.isoformat().replace("+00:00", "Z"),
            packer_version=entry.packer_version,
        )


def _key(name: str) -> str:
    return f"{PREFIX}{quote(name, safe='')}.json"


def _unreadable(key: str, *details: str) -> UnreadableError:
    return UnreadableError(
        f"the entry {key} of the image catalogue cannot be read",
        details=details,
        resolution="Restore it where `state` is, from a copy, or remove it and bake the image "
        "again.",
    )

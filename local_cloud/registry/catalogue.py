"""Which repositories there are, which images and layers each holds; kept as one JSON file."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel

from local_cloud.errors import AwsError
from local_cloud.registry.blobs import BlobStore, Upload
from local_cloud.registry.records import Repository, Scope

#: Of a repository's name (ECR API reference, CreateRepository).
NAME = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")


class _Saved(BaseModel):
    repositories: dict[str, dict[str, Repository]] = {}


class Catalogue:
    """All repositories, by account and region. Hold `lock` from looking until acting on it.

    Every change is on disk when the method returns; a file cut short by a crash cannot come about.
    """

    def __init__(self, path: Path, blobs: BlobStore) -> None:
        self.lock = threading.RLock()
        self.blobs = blobs
        self._path = path
        text = path.read_text() if path.exists() else "{}"
        self._saved = _Saved.model_validate_json(text)

    def repositories(self, scope: Scope) -> dict[str, Repository]:
        """This registry's repositories by name."""
        return self._saved.repositories.setdefault(_key(scope), {})

    def get(self, scope: Scope, name: str) -> Repository:
        """Raises AwsError RepositoryNotFoundException."""
        repository = self.repositories(scope).get(name)
        if repository is None:
            raise AwsError(
                "RepositoryNotFoundException",
                f"The repository with name '{name}' does not exist in the registry with id "
                f"'{scope.account}'",
            )
        return repository

    def create(self, scope: Scope, name: str) -> Repository:
        """Raises AwsError: InvalidParameterException, RepositoryAlreadyExistsException."""
        if NAME.fullmatch(name) is None or not 2 <= len(name) <= 256:
            raise AwsError(
                "InvalidParameterException",
                f"Invalid parameter at 'repositoryName' failed to satisfy constraint: "
                f"'must satisfy regular expression '{NAME.pattern}''",
            )
        with self.lock:
            if name in self.repositories(scope):
                raise AwsError(
                    "RepositoryAlreadyExistsException",
                    f"The repository with name '{name}' already exists in the registry with id "
                    f"'{scope.account}'",
                )
            repository = Repository(name=name, created_at=datetime.now(UTC))
            self.repositories(scope)[name] = repository
            self.save()
            return repository

    def delete(self, scope: Scope, name: str, *, force: bool) -> Repository:
        """Raises AwsError: RepositoryNotFoundException, RepositoryNotEmptyException."""
        with self.lock:
            repository = self.get(scope, name)
            if repository.images and not force:
                raise AwsError(
                    "RepositoryNotEmptyException",
                    f"The repository with name '{name}' in registry with id '{scope.account}' "
                    f"cannot be deleted because it still contains images",
                )
            del self.repositories(scope)[name]
            self.save()
            self.free([*repository.layers, *repository.images])
            return repository

    def add_layer(self, scope: Scope, name: str, upload: Upload, *, digest: str | None) -> str:
        """Finish an upload as a layer of this repository; gives its digest.

        Raises DigestMismatchError, or AwsError when the repository is gone meanwhile.
        """
        with self.lock:
            repository = self.get(scope, name)
            actual = self.blobs.finish_upload(upload, digest=digest)
            repository.layers[actual] = datetime.now(UTC)
            self.save()
            return actual

    def mount_layer(self, scope: Scope, name: str, *, digest: str, source: str) -> bool:
        """Let this repository hold a layer of another one too. False if that one has none."""
        with self.lock:
            repository = self.get(scope, name)
            giver = self.repositories(scope).get(source)
            if giver is None or digest not in giver.layers:
                return False
            repository.layers[digest] = datetime.now(UTC)
            self.save()
            return True

    def free(self, digests: Iterable[str]) -> None:
        """Remove the bytes of those blobs that no repository holds any more."""
        with self.lock:
            used: set[str] = set()
            for repositories in self._saved.repositories.values():
                for repository in repositories.values():
                    used.update(repository.layers, repository.images)
            for digest in set(digests) - used:
                self.blobs.delete(digest)

    def save(self) -> None:
        """Write the catalogue; call it while holding `lock`, after a change to a repository."""
        with self.lock:
            draft = self._path.with_suffix(".new")
            draft.write_text(self._saved.model_dump_json())
            draft.replace(self._path)


def _key(scope: Scope) -> str:
    return f"{scope.account}/{scope.region}"

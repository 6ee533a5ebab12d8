"""Identity: each field of a recipe changes it, nothing else does, on every machine and Python."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ami_provider.explaining import explain
from ami_provider.fingerprint import (
    canonical_json,
    content_fingerprint,
    fingerprint,
    whole_numbers,
)
from ami_provider.recipe import AgentSettings, ExtraStep, RootVolume, SystemUpdate
from ami_provider.resolved import ResolvedImage, ResolvedModel, ResolvedRecipe
from tests.ami_provider.fields import list_changes, list_leaves
from tests.ami_provider.samples import REPOSITORY, resolved

Change = Callable[[ResolvedRecipe], dict[str, Any]]


def base_with(**fields: Any) -> Change:
    return lambda r: {"base": r.base.model_copy(update=fields)}


def first_model(**fields: Any) -> Change:
    return lambda r: {"models": (r.models[0].model_copy(update=fields), r.models[1])}


def second_model(**fields: Any) -> Change:
    return lambda r: {"models": (r.models[0], r.models[1].model_copy(update=fields))}


def first_image(**fields: Any) -> Change:
    return lambda r: {"images": (r.images[0].model_copy(update=fields), r.images[1])}


def having(**fields: Any) -> Change:
    return lambda _: fields


STEP_A, STEP_B = ExtraStep(name="a", script="true"), ExtraStep(name="b", script="true")

# name, change, first 16 digits of the fingerprint
GOLDEN: list[tuple[str, Change, str]] = [
    ("nothing", having(), "1efad98412f07642"),
    ("base AMI", base_with(ami_id="ami-00000000000000002"), "aadfeba9729d370a"),
    ("base name", base_with(name="al2023-ami-ecs-gpu-hvm-2023.0.2-x86_64-ebs"), "0bc85b4ec2754a06"),
    ("image digest", first_image(digest=f"sha256:{'c' * 64}"), "b6390abd2cd40722"),
    ("image repository", first_image(repository=f"{REPOSITORY}-3"), "797acd61caba7ad0"),
    ("one image less", lambda r: {"images": r.images[:1]}, "f0267f06ea8d4bd5"),
    ("model sha256", first_model(sha256="2" * 64), "96e7ec0f5d6d6d40"),
    ("model destination", first_model(destination="/opt/ml/c.pt"), "091f9469b8c7a550"),
    ("model version", second_model(version_id="v2"), "3cf9f533906c526c"),
    ("model etag", second_model(etag="f" * 32), "f9217b69fafdd172"),
    ("model size", second_model(size_bytes=6), "8f2edb86269b7099"),
    ("unpinned model's source", second_model(source="s3://n/b.pt"), "c0ea4fc7d8f4d2b8"),
    ("no models", having(models=()), "862aaa7e3c8fa40b"),
    ("extra step", having(extra_steps=(STEP_A,)), "3ed31eab58febac8"),
    ("extra step's name", having(extra_steps=(STEP_B,)), "81cd6ce0a14468bd"),
    (
        "extra step's script",
        having(extra_steps=(ExtraStep(name="a", script="false"),)),
        "81168c4c474a69c3",
    ),
    ("extra steps a b", having(extra_steps=(STEP_A, STEP_B)), "9343a16099eba677"),
    ("extra steps b a", having(extra_steps=(STEP_B, STEP_A)), "cf09e956d284ec42"),
    ("agent GPU", having(agent=AgentSettings(gpu_support=False)), "fa8335e7fbe37897"),
    ("agent pull", having(agent=AgentSettings(image_pull_behavior="once")), "753c8b54bdef2b26"),
    ("agent draining", having(agent=AgentSettings(spot_draining=False)), "1cb9ca8a3a2d0e8e"),
    ("agent start", having(agent=AgentSettings(start_timeout_s=300)), "4de7be3859fa2a47"),
    (
        "agent extra",
        having(agent=AgentSettings(extra={"ECS_LOGLEVEL": "warn"})),
        "e5082a5a9adf8566",
    ),
    ("update off", having(system_update=SystemUpdate(enabled=False)), "b2a67f108fb5d61f"),
    ("update hold", having(system_update=SystemUpdate(hold=("kernel*",))), "64d54796c943519e"),
    ("volume size", having(root_volume=RootVolume(size_gib=60)), "29bf8bed878a6a76"),
    ("volume type", having(root_volume=RootVolume(type="gp2")), "7acf7eb90665d14c"),
    ("volume IOPS", having(root_volume=RootVolume(iops=4000)), "108b31c1337a2f4b"),
    ("volume throughput", having(root_volume=RootVolume(throughput=250)), "c705c3cf9b1921a5"),
    ("encryption key", having(encryption_key="alias/ami"), "599ebd4ce8c35165"),
]

SAME: list[tuple[str, Change]] = [
    ("order of images", lambda r: {"images": r.images[::-1]}),
    ("order of models", lambda r: {"models": r.models[::-1]}),
    ("tag of an image", first_image(tag="v1.2")),
    ("layer sizes", first_image(layer_bytes=(1, 2))),
    ("bucket of a model with known bytes", first_model(source="s3://prod/a.pt")),
    ("version of a model with known bytes", first_model(version_id="v9", etag="x")),
    ("size and etag of a model with known bytes", first_model(etag="y", size_bytes=9)),
    ("how the base was asked for", base_with(source="/my/parameter")),
    ("what the base AMI is known to be",
     base_with(family="al2", architecture="arm64", root_device="/dev/sda1", size_gib=8)),
    ("order of held packages",
     lambda r: {"system_update": SystemUpdate(hold=r.system_update.hold[::-1])}),
    ("held packages of no update",
     lambda r: {"system_update": SystemUpdate(enabled=False, hold=("a",))}),
]  # fmt: skip


def _fingerprint(change: Change) -> str:
    recipe = resolved()
    return fingerprint(recipe.model_copy(update=change(recipe)).manifest())


@pytest.mark.parametrize(("name", "change", "expected"), GOLDEN, ids=[g[0] for g in GOLDEN])
def test_golden(name: str, change: Change, expected: str) -> None:
    assert _fingerprint(change)[:16] == expected


def test_each_field_makes_another_image() -> None:
    found = [_fingerprint(change) for _, change, _ in GOLDEN]
    assert len(set(found)) == len(GOLDEN)


def test_the_table_covers_every_field_of_a_recipe() -> None:
    """Down to the last leaf: a row says that it is content, or that it is not."""
    steps = having(extra_steps=(STEP_A,))
    content = {leaf for _, change, _ in GOLDEN for leaf in _changed(change, steps)}
    other = {leaf for _, change in SAME for leaf in _changed(change, steps)}
    assert content | other == list_leaves(ResolvedRecipe)
    assert list_leaves(ResolvedRecipe) - content == {
        "base.source", "base.family", "base.architecture", "base.root_device", "base.size_gib",
        "images[].tag", "images[].layer_bytes",
    }  # fmt: skip


def _changed(change: Change, before: Change) -> set[str]:
    """The leaves that the row changes, where the recipe has an extra step already."""
    recipe = resolved()
    recipe = recipe.model_copy(update=before(recipe))
    changed = recipe.model_copy(update=change(recipe))
    return list_changes(recipe.model_dump(mode="json"), changed.model_dump(mode="json"))


@pytest.mark.parametrize(("name", "change"), SAME, ids=[s[0] for s in SAME])
def test_what_is_no_content_changes_nothing(name: str, change: Change) -> None:
    off = "no update" in name
    expected = _fingerprint(having(system_update=SystemUpdate(enabled=False)) if off else having())
    assert _fingerprint(change) == expected


def test_a_manifest_survives_the_state() -> None:
    manifest = resolved().manifest()
    shaken = json.loads(json.dumps(manifest), parse_int=float)
    assert fingerprint(shaken) == fingerprint(manifest)
    assert explain(shaken, manifest) == []


def test_content_leaves_the_base_ami_out_and_how_it_was_asked_for_in() -> None:
    recipe = resolved()
    newer = recipe.model_copy(update=base_with(ami_id="ami-00000000000000009", name="x")(recipe))
    content = content_fingerprint(recipe.manifest(), "al2023-gpu")
    assert content == content_fingerprint(newer.manifest(), "al2023-gpu")
    assert content != content_fingerprint(recipe.manifest(), "al2-gpu")


HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
NAMES = st.text("abcdefghij", min_size=1, max_size=8)
IMAGES = st.lists(
    st.builds(
        lambda n, d: ResolvedImage(repository=f"{REPOSITORY}/{n}", digest=f"sha256:{d}"), NAMES, HEX
    ),
    min_size=1,
    max_size=5,
)
MODELS = st.lists(
    st.builds(
        lambda n, s: ResolvedModel(source=f"s3://m/{n}", destination=f"/opt/{n}", sha256=s),
        NAMES,
        HEX,
    ),
    max_size=8,
    unique_by=lambda m: m.destination,
)
EXTRA = st.dictionaries(NAMES.map(lambda n: f"ECS_{n.upper()}"), NAMES, max_size=4)


STEPS = st.lists(
    st.builds(lambda n, t: ExtraStep(name=n, script=t), NAMES, NAMES),
    max_size=3,
    unique_by=lambda step: step.name,
)
VOLUMES = st.builds(
    lambda size, iops: RootVolume(size_gib=size, iops=iops),
    st.integers(18, 500),  # 500 IOPS for each GiB at most
    st.none() | st.integers(3000, 9000),
)
UPDATES = st.builds(
    lambda on, hold: SystemUpdate(enabled=on, hold=tuple(hold)), st.booleans(), st.lists(NAMES)
)
RECIPES = st.builds(
    lambda images, models, steps, extra, volume, update, key: resolved().model_copy(
        update={
            "images": tuple(images),
            "models": tuple(models),
            "extra_steps": tuple(steps),
            "agent": AgentSettings(extra=extra),
            "root_volume": volume,
            "system_update": update,
            "encryption_key": key,
        }
    ),
    IMAGES, MODELS, STEPS, EXTRA, VOLUMES, UPDATES, st.none() | st.just("alias/ami"),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    recipe=RECIPES,
    seed=st.randoms(use_true_random=False),
    change=st.sampled_from([row[1] for row in GOLDEN[1:] if "model" not in row[0]]),
)
def test_order_and_spelling_never_matter_and_content_always_does(
    recipe: ResolvedRecipe, seed: random.Random, change: Change
) -> None:
    before = fingerprint(recipe.manifest())
    shuffled = {name: list(getattr(recipe, name)) for name in ("images", "models")}
    keys, hold = list(recipe.agent.extra.items()), list(recipe.system_update.hold)
    for items in (*shuffled.values(), keys, hold):
        seed.shuffle(items)
    other = recipe.model_copy(
        update={
            **{name: tuple(items) for name, items in shuffled.items()},
            "agent": AgentSettings(extra=dict(keys)),
            "system_update": SystemUpdate(enabled=recipe.system_update.enabled, hold=tuple(hold)),
        }
    )
    assert fingerprint(other.manifest()) == before
    spelled = json.loads(json.dumps(other.manifest(), indent=3), parse_int=float)
    assert fingerprint(spelled) == before

    assume(len(recipe.images) > 1)  # the rows of the table are for recipes with two images
    changed = recipe.model_copy(update=change(recipe))
    assert (fingerprint(changed.manifest()) == before) == (changed.manifest() == recipe.manifest())
    if changed.manifest() != recipe.manifest():
        assert explain(recipe.manifest(), changed.manifest())


def test_numbers_and_sequences_are_spelled_in_one_way() -> None:
    assert canonical_json({"b": 30.0, "a": (1.5, "é")}) == '{"a":[1.5,"\\u00e9"],"b":30}'
    assert whole_numbers(True) is True

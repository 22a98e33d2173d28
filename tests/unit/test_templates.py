"""Templates: strict, and what they render for Packer."""

from pathlib import Path

import pytest

from onebaton.adapters.ingredients import (
    debian_packages,
    ingredients,
    node_template,
    plugin_files,
    script_order,
)
from onebaton.adapters.packer import PackerPlugin, PackerVersion
from onebaton.adapters.parts import part
from onebaton.adapters.templates import Templates, hcl
from onebaton.config import ImageConfig, RepositoryConfig
from onebaton.errors import ConfigError


def test_a_missing_variable_is_named_with_its_place(tmp_path: Path):
    (tmp_path / "a.j2").write_text("one\n{{ given }}\n{% if true %}\n{{ absent }}\n{% endif %}\n")
    with pytest.raises(ConfigError) as raised:
        Templates(tmp_path).render("a.j2", {"given": 1})
    assert raised.value.message == f"{tmp_path}/a.j2, line 4: 'absent' is undefined"
    assert "given" in raised.value.details[0]


def test_a_missing_variable_is_found_in_an_included_template_and_in_a_condition(tmp_path: Path):
    (tmp_path / "outer.j2").write_text("\n{% include 'inner.j2' %}\n")
    (tmp_path / "inner.j2").write_text("\n\n{% if absent %}x{% endif %}\n")
    with pytest.raises(ConfigError, match=r"inner\.j2, line 3: 'absent' is undefined"):
        Templates(tmp_path).render("outer.j2", {})


def test_a_missing_attribute_is_named(tmp_path: Path):
    (tmp_path / "a.j2").write_text("{{ zone.size }}")
    with pytest.raises(ConfigError, match=r"line 1: .*has no attribute 'size'"):
        Templates(tmp_path).render("a.j2", {"zone": {}})


def test_a_broken_and_a_missing_template_are_told(tmp_path: Path):
    (tmp_path / "a.j2").write_text("\n{% if %}")
    with pytest.raises(ConfigError, match=r"a\.j2, line 2"):
        Templates(tmp_path).render("a.j2", {})
    with pytest.raises(ConfigError, match=r"no template .*b\.j2"):
        Templates(tmp_path).render("b.j2", {})


def test_hcl_interpolates_nothing():
    assert hcl('a "b" ${var.c} %{if}') == '"a \\"b\\" $${var.c} %%{if}"'
    assert hcl(["x", 1, True]) == '["x", 1, true]'


def test_a_part_that_is_not_there_is_told():
    with pytest.raises(FileNotFoundError, match="packer/nothing"):
        part("packer", "nothing")


def _image(url: str = "https://packages.example/6.10") -> ImageConfig:
    return ImageConfig(version="6.10.5", repository=RepositoryConfig(url=url))


def _rendered(
    image: ImageConfig, platform: str = "podman", version: PackerVersion | None = None
) -> str:
    packages, scripts = [("opennebula", "6.10.5-1")], ["provision/10-debian.sh"]
    return node_template(image, platform, packages, scripts, version).decode()


@pytest.mark.parametrize(
    ("version", "names"),
    [((1, 6, 6), set()), ((1, 7, 0), {"plugins.pkr.hcl"}), ((1, 11, 2), {"plugins.pkr.hcl"})],
)
def test_plugins_are_named_only_for_a_packer_that_has_them(
    version: tuple[int, int, int], names: set[str]
):
    files = plugin_files(PackerVersion(version), PackerPlugin("amazon", ">= 1.2.0"))
    assert set(files) == names
    for content in files.values():
        assert b"required_plugins" in content
        assert b'"github.com/hashicorp/amazon"' in content


@pytest.mark.parametrize("platform", ["podman", "aws"])
def test_the_template_of_the_recipe_is_the_same_for_every_packer(platform: str):
    text = _rendered(_image(), platform)
    assert _rendered(_image(), platform, PackerVersion((1, 6, 6))) == text
    for newer in ("required_plugins", "templatefile(", 'local "', "packer {"):
        assert newer not in text
    assert "metadata_options" not in text
    assert "ONEBATON_PACKAGES=opennebula=6.10.5-1" in text


def test_what_is_packers_own_is_not_taken_for_ours():
    assert "{{.Image}}" in _rendered(_image())
    assert "sudo env {{ .Vars }} {{ .Path }}" in _rendered(_image(), "aws")


def test_a_packer_that_can_asks_for_the_second_version_of_the_metadata_service():
    newer = PackerVersion((1, 11, 2))
    assert 'http_tokens                 = "required"' in _rendered(_image(), "aws", newer)
    assert _rendered(_image(), "podman", newer) == _rendered(_image(), "podman")


def test_both_platforms_are_provisioned_alike():
    """But for who logs in."""

    def provisioners(platform: str) -> list[str]:
        text = _rendered(_image("/srv/packages"), platform)
        block = text[text.index('  provisioner "file"') : text.index("  post-processor")]
        return [line for line in block.splitlines() if "execute_command" not in line]

    assert provisioners("podman") == provisioners("aws")


@pytest.mark.parametrize("platform", ["podman", "aws"])
def test_a_local_repository_is_uploaded_and_another_is_not(platform: str):
    assert "var.package_folder" in _rendered(_image("/srv/packages"), platform)
    assert "package_folder" not in _rendered(_image(), platform)


def test_a_platforms_own_parts_come_with_those_of_all():
    image = _image("/srv/packages")
    podman, aws = ingredients(image, "podman", "6.10.5-1"), ingredients(image, "aws", "6.10.5-1")
    assert podman.keys() < aws.keys()
    assert "files/usr/local/lib/onebaton/leader-address" in aws
    assert {name: aws[name] for name in podman if name != "packages.list"} == {
        name: podman[name] for name in podman if name != "packages.list"
    }
    assert set(debian_packages("aws")) - set(debian_packages("podman")) >= {"cloud-init"}
    assert script_order(aws)[0] == "provision/05-ready.sh"
    assert script_order(aws)[-1] == "provision/90-sealed.sh"


def test_the_operators_scripts_run_before_the_image_is_cleaned_and_looked_at():
    names = [f"provision/{path.name}" for path in part("packer", "provision").iterdir()]
    ordered = script_order(dict.fromkeys([*names, "scripts/01-b", "scripts/00-a", "apt/x"], b""))
    assert ordered[-4:] == [
        "scripts/00-a",
        "scripts/01-b",
        "provision/80-clean.sh",
        "provision/90-sealed.sh",
    ]
    assert ordered[0] == "provision/10-debian.sh"
    assert sorted(ordered) == sorted([*names, "scripts/00-a", "scripts/01-b"])

"""`darkroom files`, and local images of `darkroom enqueue`."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment
from tests.support.example_images import encoded_image


async def test_local_images_are_uploaded_and_named_in_a_job(
    darkroom: Darkroom, deployment: Deployment, tmp_path: Path
) -> None:
    cat, mask, text = tmp_path / "cat.png", tmp_path / "mask.webp", tmp_path / "notes.txt"
    cat.write_bytes(encoded_image("PNG"))
    mask.write_bytes(encoded_image("WEBP"))
    text.write_text("no image at all, but text")
    order = ("enqueue", "--account", "acme")
    uploaded, job, bad, missing, wrong = await darkroom.run_all(
        ("files", "upload", str(cat), str(mask), "--account", "acme", "--json"),
        (*order, "--image", str(cat), "--mask", str(mask), "--json"),
        (*order, "--image", str(text), "--json"),
        (*order, "--image", str(tmp_path / "dog.png")),
        (*order, "--image", str(cat), "--aspect-ratio", "7:1"),
    )
    assert (uploaded.code, job.code) == (0, 0), uploaded.err + job.err
    files = uploaded.objects
    assert [one["content_type"] for one in files] == ["image/png", "image/webp"]
    request = job.object["request"]
    assert request["image_urls"] == [files[0]["url"]]
    assert request["mask_url"] == files[1]["url"]
    for refused in (bad, missing, wrong):
        assert refused.code == 1
    assert "image_urls.0" in bad.err
    assert "no image that is known" in bad.err
    assert "dog.png' cannot be read" in missing.err
    shown = await darkroom.run("files", "show", files[0]["id"])
    assert shown.lines == [files[0]["url"]]
    assert "image/png, 37 by 23 pixels" in shown.err
    assert (await darkroom.run("files", "show", "cat")).code == 3
    assert len(await deployment.run_sql("SELECT FROM jobs")) == 1

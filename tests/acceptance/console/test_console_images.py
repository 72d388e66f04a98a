"""The images of jobs in the console: copies and their thumbnails, for whom the session is."""

from __future__ import annotations

import hashlib
import re
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from producer.keys.roles import Role
from tests.acceptance.test_http_access import key_of
from tests.support.console_client import ConsoleClient, browsing
from tests.support.deployment import Deployment, text_to_image


async def bytes_of(browser: ConsoleClient, path: str) -> tuple[int, str, bytes]:
    """Return the status, the content type and the body."""
    async with browser.session.get(path, allow_redirects=False) as response:
        return response.status, response.headers.get("Content-Type", ""), await response.read()


def shown_on(text: str) -> list[str]:
    return re.findall(r'<img data-thumb src="([^"]+)"', text)


async def test_pages_show_thumbnails_of_copies_and_lead_to_the_whole_images(
    deployment: Deployment, tmp_path: Path
) -> None:
    results: dict[str, Any] = {"results_url": f"file://{tmp_path}/images"}
    keys = {role: await key_of(deployment, role) for role in (Role.OPERATOR, Role.VIEWER)}
    async with deployment.worker(**results):
        job = await deployment.ended(await deployment.enqueue(text_to_image(quantity=2)))
    page = f"/console/jobs/{job.id}"
    paths = [f"{page}/images/{number}" for number in (1, 2)]
    async with deployment.api(**results) as api, browsing(api, keys[Role.OPERATOR]) as operator:
        text = (await operator.get(page)).expect(200)
        assert shown_on(text) == [f"{path}?size=thumbnail" for path in paths]
        listed = (await operator.get("/console/jobs")).expect(200)
        assert shown_on(listed) == [f"{paths[0]}?size=thumbnail"]
        for path, image in zip(paths, job.images, strict=True):
            assert f"{image.width} \u00d7 {image.height} · PNG · " in text
            status, kind, body = await bytes_of(operator, path)
            assert (status, kind) == (200, "image/png")
            assert hashlib.sha256(body).hexdigest() == image.sha256
            status, kind, body = await bytes_of(operator, f"{path}?size=thumbnail")
            assert (status, kind) == (200, "image/webp")
            assert max(Image.open(BytesIO(body)).size) <= 256
        assert text.count("Kept in the store until it is pruned") == 2
        for number in ("3", "0", "x", "9" * 40):
            (await operator.get(f"{page}/images/{number}")).expect(404)
        async with browsing(api) as stranger:
            assert (await bytes_of(stranger, paths[0]))[0] == 303
        async with browsing(api, keys[Role.VIEWER]) as viewer:
            assert (await bytes_of(viewer, paths[0]))[0] == 403
            assert shown_on((await viewer.get(page)).expect(200)) == []
    async with deployment.api() as api, browsing(api, keys[Role.OPERATOR]) as operator:
        assert shown_on((await operator.get(page)).expect(200)) == [], "this API has no store"

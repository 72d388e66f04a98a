"""Makes an image with OpenAI's SDK for Python, through Darkroom.

    pip install openai
    python examples/openai_sdk.py "a lighthouse at dusk"

DARKROOM_URL is where the API is, and DARKROOM_API_KEY a key of the role service.
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

from openai import APIStatusError, OpenAI


def main() -> int:
    """Write the image to lighthouse.png. Returns the exit code."""
    url = os.environ.get("DARKROOM_URL", "http://127.0.0.1:8080")
    client = OpenAI(base_url=f"{url}/openai/v1", api_key=os.environ["DARKROOM_API_KEY"])
    try:
        made = client.images.generate(
            model="gpt-image-1", prompt=" ".join(sys.argv[1:]), size="1536x1024"
        )
    except APIStatusError as error:
        print(error.message, file=sys.stderr)
        return 1
    for image in made.data or ():
        picture = base64.b64decode(image.b64_json or "")
        Path("lighthouse.png").write_bytes(picture)
        print(f"lighthouse.png: {len(picture):,} bytes, {made.model_extra}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A store that cannot be used as it is set up is named at start, with what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.adapters.bucket_settings import read_bucket
from shared.adapters.results_store import open_results_store
from shared.errors import ConfigurationError, SettingsRefused
from shared.settings import load_settings

PAIR = {"AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "two"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes = ("AWS_", "GOOGLE_", "AZURE_")
    for name in [name for name in os.environ if name.startswith(prefixes)]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("url", "environ"),
    [
        ("s3://bucket/path", {}),
        ("s3://bucket", PAIR),
        ("s3://bucket", {**PAIR, "AWS_ENDPOINT_URL": "https://storage.example:9000"}),
        ("s3://b", {"AWS_ENDPOINT_URL": "http://10.0.0.5:9000", "AWS_ALLOW_HTTP": "true"}),
        ("gs://bucket/path", {}),
        ("az://account/container", {}),
        ("az://account/container/a/path", {"AZURE_STORAGE_ACCOUNT_NAME": "account"}),
        ("az://account/container", {"AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"}),
    ],
)
def test_a_store_that_can_be_used_opens(
    monkeypatch: pytest.MonkeyPatch, url: str, environ: dict[str, str]
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert open_results_store(url).name == url


def test_only_the_last_folder_of_a_path_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    with pytest.raises(SettingsRefused, match=f"there is no folder {folder}: set RESULTS_URL as"):
        open_results_store(folder.as_uri(), makes_folder=False)
    assert not folder.exists()
    open_results_store(folder.as_uri())
    assert folder.is_dir()
    open_results_store(folder.as_uri(), makes_folder=False)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("imagse/of/shop", "there is no folder .*/imagse/of: correct the path, mount its disk"),
        ("imagse/shop", "there is no folder .*/imagse: correct the path"),
        ("file/shop", "there is no folder .*/file: correct the path"),
        ("file", "/file is no folder"),
    ],
)
def test_a_mistyped_path_is_refused_and_nothing_is_made(
    tmp_path: Path, path: str, said: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsRefused, match=f"^RESULTS_URL file://.*cannot be used: .*{said}"):
        open_results_store(f"file://{tmp_path}/{path}")
    assert [one.name for one in tmp_path.rglob("*")] == ["file"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file://srv/images", "must have an absolute path"),
        ("file:///", "must name a folder of its own"),
        ("file:///./", "must name a folder of its own"),
        ("file:///srv/a?b", "a ? in a path is %3F"),
        ("file:///srv/a#b", "a # is %23"),
        ("s3://bucket/path?region=eu-west-1", "must have no parameters"),
        ("/srv/images", "must begin with one of file://, s3://, gs://, az://, or be `none`"),
    ],
)
def test_a_url_that_names_no_place_is_refused_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("RESULTS_URL", url)
    with pytest.raises(SettingsRefused) as raised:
        load_settings()
    assert said in str(raised.value)
    assert "RESULTS_URL" in str(raised.value)


def test_an_azure_url_names_account_and_container() -> None:
    bucket = read_bucket("az://account/container/a/path", {})
    assert bucket.url == "az://container/a/path"
    assert bucket.options == {"account_name": "account"}


@pytest.mark.parametrize(
    ("url", "environ", "said"),
    [
        ("s3://", {}, "a bucket must follow"),
        ("gs:///path", {}, "a bucket must follow"),
        ("s3://b", {"AWS_ACCESS_KEY_ID": "secret-one"}, "AWS_SECRET_ACCESS_KEY is not"),
        ("s3://b", {"AWS_SECRET_ACCESS_KEY": "secret-one"}, "AWS_ACCESS_KEY_ID is not"),
        ("s3://b", {"AWS_ENDPOINT_URL": "storage.example"}, "AWS_ENDPOINT_URL must be a URL"),
        ("s3://b", {"AWS_ENDPOINT_URL_S3": "http://x"}, "only with AWS_ALLOW_HTTP=true"),
        ("s3://b", {"AWS_ALLOW_HTTP": "maybe"}, "in the environment: AWS_ALLOW_HTTP"),
        ("gs://b", {"GOOGLE_SERVICE_ACCOUNT": "/no/file"}, "environment: GOOGLE_SERVICE_ACCOUNT"),
        ("gs://b", {"GOOGLE_SERVICE_ACCOUNT_KEY": "{secret-one"}, "GOOGLE_SERVICE_ACCOUNT_KEY"),
        ("gs://b", {"GOOGLE_BASE_URL": "http://x"}, "only with GOOGLE_ALLOW_HTTP=true"),
        ("az://account", {}, "it must name account and container"),
        ("az://a/c", {"AZURE_STORAGE_ACCOUNT_NAME": "b"}, "AZURE_STORAGE_ACCOUNT_NAME is b"),
        ("az://a/c", {"AZURE_STORAGE_ACCOUNT_KEY": "secret-one!"}, "AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused_with_the_setting_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, url: str, environ: dict[str, str], said: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        open_results_store(url)
    message = str(raised.value)
    assert message.startswith(f"RESULTS_URL {url} cannot be used: ")
    assert said in message
    assert "secret-one" not in message
    assert "\n" not in message

"""A store that cannot be used as it is set up is named at start, with what is wrong."""

from __future__ import annotations

import os

import pytest

from shared.adapters.bucket_settings import read_bucket
from shared.adapters.results_store import open_results_store
from shared.errors import ConfigurationError

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

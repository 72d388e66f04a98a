"""The secret that signs all webhooks of an account: shown, made, rotated and removed."""

from __future__ import annotations

from producer.console.page import PageCall, PageView, Redirect
from producer.console.pages.money.accounts_page import account_path, check_typed_account
from producer.webhooks.account_secrets import AccountSecrets
from shared.errors import Fault, InvalidRequest, NotFound


async def show_secret(call: PageCall) -> PageView:
    """Show the secret of the account, or that it has none."""
    account = await call.billing.account(call.part("id"))
    try:
        secret = await _secrets(call).show(account.id)
    except NotFound:
        secret = None
    values = {"account": account, "secret": secret}
    return PageView("money/account_secret.html", values, title=f"Webhook secret of {account.id}")


async def make_secret(call: PageCall) -> Redirect:
    """Make the secret of the account, unless it has one."""
    await _secrets(call).create(call.part("id"), actor=call.actor)
    return Redirect(_path(call), "The account has a secret. It signs every webhook from now on.")


async def ask_rotate(call: PageCall) -> PageView:
    """Say what a rotation does, and ask."""
    return await _ask(call, "money/account_secret_rotate.html")


async def rotate_secret(call: PageCall) -> Redirect:
    """Replace the secret. The old one signs as well for a day."""
    _confirm(call)
    await _secrets(call).rotate(call.part("id"), actor=call.actor)
    return Redirect(_path(call), "The secret was replaced. The old one signs as well for a day.")


async def ask_remove(call: PageCall) -> PageView:
    """Say what the end of the secret does, and ask."""
    return await _ask(call, "money/account_secret_remove.html")


async def remove_secret(call: PageCall) -> Redirect:
    """End the secret at once."""
    _confirm(call)
    await _secrets(call).revoke(call.part("id"), actor=call.actor)
    return Redirect(_path(call), "The secret was removed. It signs nothing any more.")


async def _ask(call: PageCall, template: str) -> PageView:
    secret = await _secrets(call).show(call.part("id"))
    return PageView(template, {"account_id": secret["account_id"], "secret": secret})


def _confirm(call: PageCall) -> None:
    faults: list[Fault] = []
    check_typed_account(call, faults)
    if faults:
        raise InvalidRequest(faults)


def _secrets(call: PageCall) -> AccountSecrets:
    return call.producer.webhooks.account_secrets


def _path(call: PageCall) -> str:
    return f"{account_path(call.part('id'))}/webhook-secret"

// Verifies the webhooks that Darkroom sends, by the Standard Webhooks specification.
import { WebhookNotGenuine } from "./errors.js";
const PREFIX = "whsec_";
/**
 * Returns the message of a request, or throws `WebhookNotGenuine`.
 *
 * `secrets` is the secret of the endpoint, or both around a rotation. `body` must be the bytes as
 * they came, or their text. Messages that were signed more than five minutes ago are refused.
 */
export async function verifyWebhook(secrets, headers, body, options = {}) {
    const id = header(headers, "webhook-id");
    const sentAt = header(headers, "webhook-timestamp");
    const signatures = header(headers, "webhook-signature").split(" ");
    if (!/^\d{1,12}$/.test(sentAt))
        throw new WebhookNotGenuine("webhook-timestamp is no number");
    const now = options.now ?? Date.now() / 1000;
    if (Math.abs(now - Number(sentAt)) > (options.toleranceSeconds ?? 300)) {
        throw new WebhookNotGenuine("the message is too old, or a clock is wrong");
    }
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    const signed = concatenated(new TextEncoder().encode(`${id}.${sentAt}.`), bytes);
    for (const secret of typeof secrets === "string" ? [secrets] : secrets) {
        const key = await importKey(secret);
        for (const one of signatures) {
            const given = one.startsWith("v1,") ? base64Bytes(one.slice(3)) : undefined;
            // It compares in constant time.
            if (given && (await crypto.subtle.verify("HMAC", key, given, signed))) {
                return { ...parsed(bytes), id };
            }
        }
    }
    throw new WebhookNotGenuine("no signature fits the secret");
}
function parsed(bytes) {
    try {
        return JSON.parse(new TextDecoder().decode(bytes));
    }
    catch {
        throw new WebhookNotGenuine("the body is no JSON");
    }
}
function header(headers, name) {
    const entries = headers instanceof Headers ? [...headers] : Object.entries(headers);
    const found = entries.find(([one]) => one.toLowerCase() === name)?.[1];
    if (typeof found !== "string")
        throw new WebhookNotGenuine(`the header ${name} is missing`);
    return found;
}
async function importKey(secret) {
    const bytes = base64Bytes(secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : secret);
    if (!bytes?.length)
        throw new TypeError(`a secret must be ${PREFIX} and Base64`);
    const algorithm = { name: "HMAC", hash: "SHA-256" };
    return crypto.subtle.importKey("raw", bytes, algorithm, false, ["verify"]);
}
function base64Bytes(text) {
    try {
        return Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    }
    catch {
        return undefined;
    }
}
function concatenated(first, second) {
    const all = new Uint8Array(first.length + second.length);
    all.set(first);
    all.set(second, first.length);
    return all;
}

import type { WebhookMessage } from "./models.js";
/** A genuine message. */
export interface Webhook extends WebhookMessage {
    /** The same for every try of one message: remember it, and drop repeats. */
    readonly id: string;
}
/**
 * Returns the message of a request, or throws `WebhookNotGenuine`.
 *
 * `secrets` is the secret of the endpoint, or both around a rotation. `body` must be the bytes as
 * they came, or their text. Messages that were signed more than five minutes ago are refused.
 */
export declare function verifyWebhook(secrets: string | readonly string[], headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>, body: Uint8Array | string, options?: {
    toleranceSeconds?: number;
    now?: number;
}): Promise<Webhook>;

import { type Exchange } from "./exchange.js";
import type { EventFields } from "./models.js";
/** One event of a stream. */
export interface JobEvent extends EventFields {
    /** Give it as `lastEventId` to go on after this event. */
    readonly lastEventId: string;
}
export declare function follow(exchange: Exchange, path: string, lastEventId: string | undefined, endsWithJob?: boolean): AsyncGenerator<JobEvent, void, void>;

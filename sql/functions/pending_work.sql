-- What the heartbeat of a worker asks besides: whether anything waits that a worker must do. While nothing
-- does, this is the only statement of an idle worker.

-- darkroom_pending_work()
-- $1 the token of a worker's listening connection, to which it is sent, or null; $2 what is known of each
-- Kie account, with which the samples of the history that are due are written, or null; $3 how long a
-- process counts as alive (seconds). Returns whether the reconciler has jobs, callbacks or webhook messages
-- to look after; whether tasks without a job are to be checked; whether a scheduled price is due; and
-- marks that change when there are other events, pauses, routes or live processes. Null where this could not
-- be read: the heartbeat must not depend on locks of other tables.
CREATE OR REPLACE FUNCTION darkroom_pending_work(text, jsonb, double precision)
RETURNS jsonb
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF $1 IS NOT NULL THEN
        PERFORM pg_notify('darkroom_echo', $1);
    END IF;
    BEGIN
        IF $2 IS NOT NULL THEN
            PERFORM darkroom_sample_history($2);
        END IF;
        RETURN jsonb_build_object(
            'reconcile',
                EXISTS (SELECT FROM jobs WHERE state IN ('submitting', 'unknown', 'generating'))
                OR EXISTS (SELECT FROM jobs WHERE state = 'queued' AND due_at <= now())
                OR EXISTS (SELECT FROM chosen_jobs)
                OR EXISTS (SELECT FROM callback_inbox
                            WHERE handled_at IS NULL AND received_at > now() - interval '1 hour')
                OR EXISTS (SELECT FROM webhook_messages
                            WHERE state = 'pending' AND next_try_at <= now() + interval '1 minute'
                              AND (tries > 0 OR next_try_at <= now())),
            'late_tasks',
                EXISTS (SELECT FROM late_tasks JOIN jobs ON jobs.id = job_id
                         WHERE outcome IS NULL AND next_check_at <= now()
                           AND jobs.finished_at IS NOT NULL),
            'prices',
                EXISTS (SELECT FROM scheduled_prices
                         WHERE settled_at IS NULL AND takes_effect_at <= now()),
            'events', (SELECT max(id) FROM job_events),
            'pauses', (SELECT jsonb_agg(jsonb_build_array(id, until) ORDER BY id) FROM active_pauses),
            'routes', (SELECT max(id) FROM model_routes),
            'processes', (SELECT jsonb_agg(id ORDER BY id) FROM processes
                           WHERE stopped_at IS NULL AND seen_at > now() - make_interval(secs => $3)));
    EXCEPTION WHEN OTHERS THEN
        RETURN NULL;
    END;
END $$;
COMMENT ON FUNCTION darkroom_pending_work IS
    'For workers: whether anything waits that a worker must do, read with each heartbeat.';

-- Grants and adjustments of credits. One that is repeated with its idempotency key is stored once.

CREATE OR REPLACE FUNCTION darkroom_grant(
    to_account text, credits numeric, reason text, allow_debt boolean DEFAULT false,
    by jsonb DEFAULT NULL, key text DEFAULT NULL,
    OUT account accounts, OUT entry ledger_entries, OUT is_new boolean
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    differs text;
    before  text[];
BEGIN
    IF credits IS NULL OR NOT (abs(credits) <= 1000000000) OR credits = 0 THEN
        RAISE EXCEPTION 'credits must be a number other than 0, at most 1000000000, not %', credits
            USING ERRCODE = 'DR001';
    END IF;
    reason := public.darkroom_readable_reason(reason);
    IF reason IS NULL THEN
        RAISE EXCEPTION 'a grant needs a reason' USING ERRCODE = 'DR001';
    END IF;
    -- The row of the account is held from here on: of two with one key, the second sees the entry of
    -- the first.
    SELECT * INTO account FROM public.accounts WHERE id = to_account FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no account has the id %', to_account USING ERRCODE = 'DR404';
    END IF;
    -- A balance that has more decimals, from older grants, can be brought to fewer.
    IF scale(trim_scale(credits)) > greatest(2, scale(trim_scale(account.balance))) THEN
        RAISE EXCEPTION 'credits have at most 2 decimals, not %', trim_scale(credits)
            USING ERRCODE = 'DR001';
    END IF;
    IF key IS NOT NULL THEN
        SELECT * INTO entry FROM public.ledger_entries
         WHERE account_id = to_account AND idempotency_key = key;
        IF FOUND THEN
            differs := concat_ws(', ', CASE WHEN entry.credits <> darkroom_grant.credits THEN 'credits' END,
                                 CASE WHEN entry.reason <> darkroom_grant.reason THEN 'reason' END);
            IF differs <> '' THEN
                RAISE EXCEPTION 'idempotency key % was used for ledger entry % of account %, which differs in: %; use a new key for a new grant',
                    quote_literal(key), entry.id, to_account, differs
                    USING ERRCODE = 'DR001', CONSTRAINT = 'a_key_names_one_grant', DETAIL = differs;
            END IF;
            is_new := false;
            RETURN;
        END IF;
    END IF;
    UPDATE public.accounts SET balance = balance + darkroom_grant.credits
     WHERE id = to_account RETURNING * INTO account;
    IF credits < 0 AND account.available < 0 AND allow_debt IS NOT TRUE THEN
        RAISE EXCEPTION 'account % has % credits available, of which % cannot be taken without a debt',
            to_account, trim_scale(account.available - credits), trim_scale(-credits)
            USING ERRCODE = 'DR001', CONSTRAINT = 'an_adjustment_leaves_no_debt',
                  HINT = 'To leave the account in debt: grant_credits(account, credits, reason, allow_debt => true).';
    END IF;
    before := public.darkroom_enter_act(by, reason);
    INSERT INTO public.ledger_entries
        (account_id, kind, credits, balance_change, held_change, balance_after, held_after, reason,
         idempotency_key)
    VALUES (to_account, CASE WHEN credits > 0 THEN 'grant' ELSE 'adjustment' END, credits, credits, 0,
            account.balance, account.held, reason, key)
    RETURNING * INTO entry;
    PERFORM public.darkroom_leave_act(before);
    is_new := true;
END $$;
COMMENT ON FUNCTION darkroom_grant IS
    'Adds credits to an account and returns it with the entry of the ledger, and whether the entry is new: the same key of the same account names the same entry. by: who, as one of our programs states it.';

CREATE OR REPLACE FUNCTION grant_credits(
    to_account text, credits numeric, reason text, allow_debt boolean DEFAULT false,
    by jsonb DEFAULT NULL, key text DEFAULT NULL
) RETURNS accounts
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    account public.accounts;
BEGIN
    SELECT (made.account).* INTO account
      FROM public.darkroom_grant(to_account, credits, reason, allow_debt, by, key) AS made;
    RETURN account;
END $$;
COMMENT ON FUNCTION grant_credits IS
    'Adds credits to an account, with a reason: SELECT grant_credits(''acme'', 100, ''invoice 17''); negative credits write an adjustment, which leaves a debt only with allow_debt => true. With key => ''invoice-17'' a repetition adds nothing. by: who, as one of our programs states it.';

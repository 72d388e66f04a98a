-- Prices as programs change, preview and schedule them.

-- name: apply_scheduled_prices
-- Applies the scheduled prices whose time has come, and returns how many.
SELECT darkroom_apply_scheduled_prices() AS applied;

-- What Kie charges for gpt-4o-image, and, until an admin says otherwise, what we charge.

SET LOCAL darkroom.reason = 'seeded';

INSERT INTO pricing (model, task, quantity, credits, provider_credits)
SELECT 'gpt-4o-image', task, quantity, credits, credits
  FROM unnest(ARRAY['text-to-image', 'image-to-image']) AS task,
       (VALUES (1, 6), (2, 7), (4, 8)) AS kie (quantity, credits);

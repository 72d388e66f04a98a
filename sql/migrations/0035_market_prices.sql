-- What Kie charges for the models of its Market, and, until an admin says otherwise, what we charge.

SET LOCAL darkroom.reason = 'seeded';
SET LOCAL darkroom.confirm = 'yes';

INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)
SELECT model, task, 1, variant, credits, credits
  FROM unnest(ARRAY['text-to-image', 'image-to-image']) AS task,
       (VALUES ('4o-image-api', '', 6),
               ('gpt-image-2', '1K', 6), ('gpt-image-2', '2K', 10), ('gpt-image-2', '4K', 16),
               ('gpt-image-2-5', '1K', 6), ('gpt-image-2-5', '2K', 10), ('gpt-image-2-5', '4K', 16),
               ('gpt-image-1.5', 'medium', 4), ('gpt-image-1.5', 'high', 22)
       ) AS kie (model, variant, credits);

// Calls OpenAI's SDK for Node, and prints what each call came to: a JSON object per line.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.BASE_URL,
  apiKey: process.env.API_KEY,
  ...JSON.parse(process.env.OPTIONS ?? "{}"),
});

async function come(call) {
  try {
    return await call;
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    const { status, code, param, type } = error;
    return { exception: error.constructor.name, status, code, param, type };
  }
}

async function edit({ images, mask, ...fields }) {
  const files = images.map((data, index) =>
    OpenAI.toFile(Buffer.from(data, "base64"), `image${index}.png`, { type: "image/png" }),
  );
  const image = await Promise.all(files);
  return client.images.edit({
    image: image.length === 1 ? image[0] : image,
    ...(mask && { mask: await OpenAI.toFile(Buffer.from(mask, "base64"), "mask.png") }),
    ...fields,
  });
}

const calls = {
  generate: (fields) => client.images.generate(fields),
  edit,
  models: async () => ({ ids: (await client.models.list()).data.map((one) => one.id) }),
};

const asked = JSON.parse(process.env.CALLS);
// All at once, as a program does that wants several images.
const results = asked.map(([name, fields]) => come(calls[name](fields ?? {})));
for (const result of results) console.log(JSON.stringify(await result));

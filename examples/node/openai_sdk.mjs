// Makes an image with OpenAI's SDK for Node, through Darkroom.
//
//     npm install openai
//     node openai_sdk.mjs "a lighthouse at dusk"
//
// DARKROOM_URL is where the API is, and DARKROOM_API_KEY a key of the role service.
import { writeFile } from "node:fs/promises";
import OpenAI from "openai";

const url = process.env.DARKROOM_URL ?? "http://127.0.0.1:8080";
const client = new OpenAI({ baseURL: `${url}/openai/v1`, apiKey: process.env.DARKROOM_API_KEY });

try {
  const made = await client.images.generate({
    model: "gpt-image-1",
    prompt: process.argv.slice(2).join(" "),
    size: "1536x1024",
  });
  const picture = Buffer.from(made.data[0].b64_json, "base64");
  await writeFile("lighthouse.png", picture);
  console.log(`lighthouse.png: ${picture.length} bytes,`, made.darkroom);
} catch (error) {
  if (!(error instanceof OpenAI.APIError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

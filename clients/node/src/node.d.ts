// The few functions of Node that the client calls, so that it needs no package with types.

declare module "node:fs/promises" {
  export function readFile(path: string | URL): Promise<Uint8Array>;
  export function writeFile(path: string, data: Uint8Array): Promise<void>;
}

declare module "node:path" {
  export function join(...parts: string[]): string;
}

declare const process: { readonly env: Record<string, string | undefined> };

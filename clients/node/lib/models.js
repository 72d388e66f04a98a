// What the API takes and returns. Written by `make types` from the OpenAPI document.
export {};

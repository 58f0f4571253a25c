// The public face of the package.

export { InvalidError } from './invalid.js';
export { AccessKey } from './key.js';
export { ReadKey } from './read_key.js';
export { AccessToken, type Method, type MintOptions } from './token.js';

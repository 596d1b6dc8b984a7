/** An error as Telegram's libraries throw it: a number and a code. */
export class FakeRpcError extends Error {
  readonly code: number;
  readonly errorMessage: string;

  constructor(code: number, errorMessage: string) {
    super(`${code}: ${errorMessage}`);
    this.name = "RPCError";
    this.code = code;
    this.errorMessage = errorMessage;
  }
}

export const flood = (seconds: number): FakeRpcError => new FakeRpcError(420, `FLOOD_WAIT_${seconds}`);
export const slowMode = (seconds: number): FakeRpcError => new FakeRpcError(420, `SLOWMODE_WAIT_${seconds}`);
export const dead = (): FakeRpcError => new FakeRpcError(401, "AUTH_KEY_UNREGISTERED");
export const peerFlood = (): FakeRpcError => new FakeRpcError(400, "PEER_FLOOD");
export const badRequest = (code = "MESSAGE_EMPTY"): FakeRpcError => new FakeRpcError(400, code);
export const serverFault = (): FakeRpcError => new FakeRpcError(500, "INTERNAL_SERVER_FAULT");

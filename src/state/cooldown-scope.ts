/** What of a session is cooling: all of it, one method, or one peer; or a budget for a method, or a method and a peer, is spent. */
export type CooldownScope =
  | { readonly kind: "session" }
  | { readonly kind: "method"; readonly method: string }
  | { readonly kind: "peer"; readonly peer: string }
  | { readonly kind: "budget"; readonly method: string; readonly peer: string | undefined };

/** A cooldown that holds a request back. */
export interface ActiveCooldown {
  readonly scope: CooldownScope;
  readonly until: number;
}

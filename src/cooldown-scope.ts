/** What of a session is cooling: all of it, one method, or one peer. */
export type CooldownScope =
  | { readonly kind: "session" }
  | { readonly kind: "method"; readonly method: string }
  | { readonly kind: "peer"; readonly peer: string };

/** A cooldown that holds a request back. */
export interface Hold {
  readonly scope: CooldownScope;
  readonly until: number;
}

/**
 * How one account shows itself to Telegram. Sticky for life: an account that changes its device or address at every
 * start looks stolen.
 */
export interface ClientProfile {
  readonly apiId?: number | undefined;
  readonly apiHash?: string | undefined;
  readonly proxy?: ProxyProfile | undefined;
  readonly deviceModel?: string | undefined;
  readonly systemVersion?: string | undefined;
  readonly appVersion?: string | undefined;
  readonly langCode?: string | undefined;
  readonly systemLangCode?: string | undefined;
  /**
   * Keeps the client connected without a lease, and connects it again when it was lost: for an account that has to listen
   * (`onConnect` of the client adapter). Telegram sends it updates, whatever the adapter's `updates` says. Does not keep the process alive. Where `maxConnected` leaves no room a lease takes
   * its place for a while. @default false
   */
  readonly keepConnected?: boolean | undefined;
}

/** A SOCKS proxy, or an MTProto proxy when `secret` is given. */
export interface ProxyProfile {
  readonly ip: string;
  readonly port: number;
  readonly socksType?: 4 | 5 | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly secret?: string | undefined;
  /** Seconds that the proxy may take to connect. */
  readonly timeout?: number | undefined;
}

import type { Account } from "../accounts.js";
import type { ApiCall } from "../api-call.js";
import type { Authorization } from "../authorization.js";
import { RpcError } from "../call.js";
import type { TlFactory, TlObject } from "../library.js";
import type { ServerHandler, Services } from "../services.js";
import { type CodeDelivery, DELIVERIES, type PendingCode } from "../sign-ins.js";

const BAD_REQUEST = 400;
const SEE_OTHER = 303;
const UNAUTHORIZED = 401;
const SHORTEST_PHONE = 5;
/** Seconds after which another way to send the code is offered. */
const RESEND_AFTER = 60;

const SENT_TYPES: Readonly<Record<CodeDelivery, string>> = {
  app: "auth.SentCodeTypeApp",
  sms: "auth.SentCodeTypeSms",
  call: "auth.SentCodeTypeCall",
};
const CODE_TYPES: Readonly<Record<CodeDelivery, string>> = {
  app: "auth.CodeTypeSms",
  sms: "auth.CodeTypeSms",
  call: "auth.CodeTypeCall",
};

function textOf(call: ApiCall, field: string): string {
  return String(call.request[field]);
}

/** Throws PHONE_NUMBER_INVALID, and PHONE_MIGRATE_X where the account lives in another data center. */
function phoneOf(services: Services, call: ApiCall): string {
  const phone = textOf(call, "phoneNumber").replace(/\D/g, "");
  if (phone.length < SHORTEST_PHONE) throw new RpcError(BAD_REQUEST, "PHONE_NUMBER_INVALID");
  const home = services.accounts.ofPhone(phone)?.dcId;
  if (home !== undefined && home !== call.authorization.dcId) throw new RpcError(SEE_OTHER, `PHONE_MIGRATE_${home}`);
  return phone;
}

function nextDelivery({ via }: PendingCode): CodeDelivery | undefined {
  return DELIVERIES[DELIVERIES.indexOf(via) + 1];
}

function sentCode(tl: TlFactory, pending: PendingCode): TlObject {
  const next = nextDelivery(pending);
  return tl("auth.SentCode", {
    type: tl(SENT_TYPES[pending.via], { length: pending.code.length }),
    phoneCodeHash: pending.hash,
    ...(next === undefined ? {} : { nextType: tl(CODE_TYPES[next]), timeout: RESEND_AFTER }),
  });
}

function sendCode(services: Services): ServerHandler {
  return (call) => sentCode(call.tl, services.signIns.sendCode(phoneOf(services, call), "app"));
}

function resendCode(services: Services): ServerHandler {
  return (call) => {
    const phone = phoneOf(services, call);
    const next = nextDelivery(services.signIns.pendingCode(phone, textOf(call, "phoneCodeHash")));
    if (next === undefined) throw new RpcError(406, "SEND_CODE_UNAVAILABLE");
    return sentCode(call.tl, services.signIns.sendCode(phone, next));
  };
}

function cancelCode(services: Services): ServerHandler {
  return (call) => {
    const phone = phoneOf(services, call);
    services.signIns.pendingCode(phone, textOf(call, "phoneCodeHash"));
    services.signIns.cancelCode(phone);
    return true;
  };
}

function signIn(services: Services): ServerHandler {
  return (call) => {
    const phone = phoneOf(services, call);
    const pending = services.signIns.pendingCode(phone, textOf(call, "phoneCodeHash"));
    if (textOf(call, "phoneCode") !== pending.code) throw new RpcError(BAD_REQUEST, "PHONE_CODE_INVALID");
    const account = services.accounts.ofPhone(phone);
    if (account === undefined) return call.tl("auth.AuthorizationSignUpRequired");
    services.signIns.cancelCode(phone);
    return authorize(services, call, account);
  };
}

/** Signs in, or says that the password is missing: then the key is the account's once that was right. */
function authorize(services: Services, call: ApiCall, account: Account): TlObject {
  const { authorization } = call;
  services.signIns.forgetTokens(authorization);
  if (account.password === undefined) return authorized(services, call, account);
  authorization.passwordNeededBy = account;
  throw new RpcError(UNAUTHORIZED, "SESSION_PASSWORD_NEEDED");
}

function authorized({ world }: Services, { authorization, tl }: ApiCall, account: Account): TlObject {
  authorization.account = account;
  authorization.passwordNeededBy = undefined;
  return tl("auth.Authorization", { user: world.user(tl, account, account.userId) });
}

function getPassword({ signIns }: Services): ServerHandler {
  return async ({ authorization, owner, tl }) => {
    const account = authorization.passwordNeededBy ?? owner;
    if (account.isGuest) throw new RpcError(UNAUTHORIZED, "AUTH_KEY_UNREGISTERED");
    const algorithm = tl("PasswordKdfAlgoSHA256SHA256PBKDF2HMACSHA512iter100000SHA256ModPow", {
      ...signIns.algorithmOf(account),
    });
    const rest = {
      newAlgo: algorithm,
      newSecureAlgo: tl("SecurePasswordKdfAlgoPBKDF2HMACSHA512iter100000", { salt: Buffer.alloc(8) }),
      secureRandom: Buffer.alloc(256, 1),
    };
    if (account.password === undefined) return tl("account.Password", rest);
    const { id, challenge } = await signIns.beginPassword(authorization, account, account.password);
    const hint = account.passwordHint === undefined ? {} : { hint: account.passwordHint };
    const srp = { hasPassword: true, currentAlgo: algorithm, srp_B: challenge.B, srpId: id };
    return tl("account.Password", { ...srp, ...hint, ...rest });
  };
}

function checkPassword(services: Services): ServerHandler {
  return (call) => {
    const account = call.authorization.passwordNeededBy;
    if (account === undefined) throw new RpcError(UNAUTHORIZED, "AUTH_KEY_UNREGISTERED");
    const { srpId, A, M1 } = call.request.password as TlObject;
    services.signIns.checkPassword(call.authorization, BigInt(String(srpId)), A as Buffer, M1 as Buffer);
    return authorized(services, call, account);
  };
}

function exportLoginToken(services: Services): ServerHandler {
  return (call) => {
    const { authorization, tl } = call;
    const pending = authorization.passwordNeededBy;
    if (pending !== undefined) throw new RpcError(UNAUTHORIZED, "SESSION_PASSWORD_NEEDED");
    const accepted = services.signIns.acceptedBy(authorization);
    const account = accepted?.acceptedBy;
    if (accepted !== undefined && account !== undefined) {
      if (account.dcId === authorization.dcId) return loginTokenSuccess(services, call, account);
      return tl("auth.LoginTokenMigrateTo", { dcId: account.dcId, token: accepted.bytes });
    }
    const { bytes, expiresAt } = services.signIns.exportToken(authorization);
    return tl("auth.LoginToken", { expires: Math.ceil(expiresAt / 1000), token: bytes });
  };
}

function importLoginToken(services: Services): ServerHandler {
  return (call) => loginTokenSuccess(services, call, services.signIns.importToken(call.request.token as Buffer));
}

function loginTokenSuccess(services: Services, call: ApiCall, account: Account): TlObject {
  return call.tl("auth.LoginTokenSuccess", { authorization: authorize(services, call, account) });
}

function acceptLoginToken(services: Services): ServerHandler {
  return ({ request, owner, tl }) => {
    const accepted = acceptToken(services, request.token as Buffer, owner);
    return describe(tl, accepted, false);
  };
}

/** Accepts a token for an account, and notifies the client that exported it. Throws `RpcError`. */
export function acceptToken(services: Services, token: Uint8Array, account: Account): Authorization {
  const authorization = services.signIns.acceptToken(token, account);
  const { tl } = services.libraries.main;
  const date = Math.floor(Date.now() / 1000);
  services.pushTo(authorization, tl("UpdateShort", { update: tl("UpdateLoginToken"), date }));
  return authorization;
}

function getAuthorizations({ accounts }: Services): ServerHandler {
  return ({ owner, authorization, tl }) =>
    tl("account.Authorizations", {
      authorizationTtlDays: owner.state.authorizationTtlDays,
      authorizations: accounts.authorizationsOf(owner).map((one) => describe(tl, one, one === authorization)),
    });
}

function describe(tl: TlFactory, { hash, createdAt, client }: Authorization, isCurrent: boolean): TlObject {
  return tl("Authorization", {
    ...(isCurrent ? { current: true } : {}),
    hash: isCurrent ? 0n : hash,
    deviceModel: client?.deviceModel ?? "",
    platform: "",
    systemVersion: client?.systemVersion ?? "",
    apiId: client?.apiId ?? 0,
    appName: "",
    appVersion: client?.appVersion ?? "",
    dateCreated: createdAt,
    dateActive: Math.floor(Date.now() / 1000),
    ip: "127.0.0.1",
    country: "",
    region: "",
  });
}

/** Signing in, by code, by login token and with a password. Sign-up is refused. */
export function signInHandlers(services: Services): ReadonlyArray<readonly [string, ServerHandler]> {
  return [
    ["auth.SendCode", sendCode(services)],
    ["auth.ResendCode", resendCode(services)],
    ["auth.CancelCode", cancelCode(services)],
    ["auth.SignIn", signIn(services)],
    [
      "auth.SignUp",
      () => {
        throw new RpcError(406, "UPDATE_APP_TO_LOGIN");
      },
    ],
    ["account.GetPassword", getPassword(services)],
    ["auth.CheckPassword", checkPassword(services)],
    ["auth.ExportLoginToken", exportLoginToken(services)],
    ["auth.ImportLoginToken", importLoginToken(services)],
    ["auth.AcceptLoginToken", acceptLoginToken(services)],
    ["account.GetAuthorizations", getAuthorizations(services)],
  ];
}

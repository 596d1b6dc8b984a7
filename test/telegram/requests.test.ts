import bigInt from "big-integer";
import { Api } from "telegram";
import { expect, test } from "vitest";
import { canonicalMethod, hasRandomId, innermost, methodOf } from "../../src/telegram/requests.js";

const query = new Api.messages.GetHistory({ peer: new Api.InputPeerSelf() });

test("innermost() - one wrapper of each kind", () => {
  const id = bigInt(1);
  const wrapped = [
    new Api.InvokeWithLayer({ layer: 198, query }),
    new Api.InitConnection({
      apiId: 1,
      deviceModel: "",
      systemVersion: "",
      appVersion: "",
      systemLangCode: "",
      langPack: "",
      langCode: "",
      query,
    }),
    new Api.InvokeAfterMsg({ msgId: id, query }),
    new Api.InvokeAfterMsgs({ msgIds: [id], query }),
    new Api.InvokeWithoutUpdates({ query }),
    new Api.InvokeWithTakeout({ takeoutId: id, query }),
    new Api.InvokeWithMessagesRange({ range: new Api.MessageRange({ minId: 1, maxId: 2 }), query }),
    new Api.InvokeWithBusinessConnection({ connectionId: "", query }),
    new Api.InvokeWithApnsSecret({ nonce: "", secret: "", query }),
    new Api.InvokeWithGooglePlayIntegrity({ nonce: "", token: "", query }),
    { className: "InvokeWithReCaptcha", classType: "request", query },
  ];
  for (const request of wrapped) expect(innermost(request), request.className).toBe(query);
});

test("innermost() - wrappers inside one another", () => {
  const request = new Api.InvokeWithLayer({
    layer: 198,
    query: new Api.InvokeWithoutUpdates({ query: new Api.InvokeAfterMsg({ msgId: bigInt(1), query }) }),
  });
  expect(innermost(request)).toBe(query);
  expect(methodOf(request)).toBe("messages.GetHistory");
});

test("innermost() - a request that has a query of its own is not a wrapper", () => {
  const request = new Api.messages.GetInlineBotResults({
    bot: new Api.InputUserSelf(),
    peer: new Api.InputPeerSelf(),
    query: "cats",
    offset: "",
  });
  expect(innermost(request)).toBe(request);
});

test("innermost() - a wrapper around nothing, and around itself", () => {
  expect(innermost({ className: "InvokeWithLayer" }).className).toBe("InvokeWithLayer");
  const circle: { className: string; query?: unknown } = { className: "InvokeWithLayer" };
  circle.query = circle;
  expect(methodOf(circle)).toBe("InvokeWithLayer");
});

test.each([
  ["contacts.resolveUsername", "contacts.ResolveUsername"],
  ["contacts.ResolveUsername", "contacts.ResolveUsername"],
  ["ping", "Ping"],
  ["", ""],
])("canonicalMethod() - %j is %j", (text, method) => expect(canonicalMethod(text)).toBe(method));

test("hasRandomId() - follows the innermost query", () => {
  const peer = new Api.InputPeerSelf();
  const send = new Api.messages.SendMessage({ peer, message: "hi" });
  const forward = new Api.messages.ForwardMessages({ fromPeer: peer, toPeer: peer, id: [1, 2] });
  const album = (randomId: bigInt.BigInteger) =>
    new Api.messages.SendMultiMedia({
      peer,
      multiMedia: [new Api.InputSingleMedia({ media: new Api.InputMediaEmpty(), randomId, message: "" })],
    });
  expect(hasRandomId(send)).toBe(true);
  expect(hasRandomId(new Api.InvokeWithoutUpdates({ query: send }))).toBe(true);
  expect(hasRandomId(forward)).toBe(true);
  expect(hasRandomId(album(bigInt(7)))).toBe(true);
  expect(hasRandomId({ className: "x", randomId: 7n } as { className: string })).toBe(true);
  expect(hasRandomId(query)).toBe(false);
  expect(hasRandomId({ className: "x", randomId: bigInt(0) } as { className: string })).toBe(false);
  expect(hasRandomId({ className: "x", randomId: [] } as { className: string })).toBe(false);
  expect(hasRandomId({ className: "x", randomId: [bigInt(1), undefined] } as { className: string })).toBe(false);
});

import { expect, test } from "vitest";
import { addressOfDataCenter, isTelegramAddress, isTestAddress } from "../../src/telegram/data-centers.js";

test.each([
  "149.154.167.51",
  "149.154.175.255",
  "91.108.4.0",
  "91.108.23.255",
  "91.108.56.130",
  "91.105.193.1",
  "185.76.151.1",
  "95.161.76.100",
  "2001:67c:4e8:f002::a",
  "2001:0b28:f23f:f005:0000:0000:0000:000a",
  "2a0a:f280:203:a:5000::100",
  "venus.web.telegram.org",
  "zws2-1.web.telegram.org",
  "ZWS2.Web.Telegram.Org",
])("isTelegramAddress() - %s is Telegram's", (address) => expect(isTelegramAddress(address)).toBe(true));

test.each([
  "127.0.0.1",
  "::1",
  "149.154.159.255",
  "149.154.176.0",
  "91.108.24.0",
  "95.161.76.101",
  "2001:67c:4e9::1",
  "2001:67c:4e8:f002::a%eth0",
  "localhost",
  "web.telegram.org.example.com",
  "evilweb.telegram.org",
  "example.com/.web.telegram.org",
  "example.com#.web.telegram.org",
  ".web.telegram.org",
  "a..web.telegram.org",
  "venus.web.telegram.org.",
  "149.154.167.51:443",
  "0149.154.167.51",
  "",
])("isTelegramAddress() - %j is not", (address) => expect(isTelegramAddress(address)).toBe(false));

test("addressOfDataCenter() - every address is Telegram's, and only the test ones are test ones", () => {
  for (const isTest of [false, true]) {
    for (const id of [1, 2, 3, ...(isTest ? [] : [4, 5])]) {
      const address = addressOfDataCenter(id, isTest) ?? "";
      expect(isTelegramAddress(address), `${id}`).toBe(true);
      expect(isTestAddress(address), `${id}`).toBe(isTest);
    }
  }
  expect(addressOfDataCenter(6, false)).toBeUndefined();
  expect(addressOfDataCenter(4, true)).toBeUndefined();
});

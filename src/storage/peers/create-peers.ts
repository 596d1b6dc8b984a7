import { encryptedPeerStorage } from "../../encryption/encrypted-peers.js";
import type { ResolvedOptions } from "../../options/options.js";
import { PeerCacheWriter } from "./peer-cache-writer.js";

/** Makes the journal of what a pool's sessions learn of their peers: sealed where the records are. */
export function makePeers(
  options: ResolvedOptions<unknown>,
  failed: (error: Error) => void,
  recovered: () => void,
): PeerCacheWriter {
  const { clock, storage, encryption, storageTimeoutMs, connectTimeoutMs } = options;
  const peers = encryption && storage.peers ? encryptedPeerStorage(storage.peers, encryption) : storage.peers;
  // A connect must not fail because of them.
  const loadTimeoutMs = Math.min(storageTimeoutMs, connectTimeoutMs / 2);
  return new PeerCacheWriter(peers, { clock, storageTimeoutMs, loadTimeoutMs, failed, recovered });
}

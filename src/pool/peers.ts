import type { ResolvedOptions } from "../options.js";
import { PeerCacheWriter } from "../records/peers/peer-journal.js";
import { encryptedPeerStorage } from "../records/sealing/sealed-peers.js";

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

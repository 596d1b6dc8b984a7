import type { ResolvedOptions } from "../options.js";
import { PeerJournal } from "../records/peers/peer-journal.js";
import { sealedPeers } from "../records/sealing/sealed-peers.js";

/** Makes the journal of what a pool's sessions learn of their peers: sealed where the records are. */
export function makePeers(
  options: ResolvedOptions<unknown>,
  failed: (error: Error) => void,
  recovered: () => void,
): PeerJournal {
  const { clock, storage, encryption, storageTimeoutMs, connectTimeoutMs } = options;
  const peers = encryption && storage.peers ? sealedPeers(storage.peers, encryption) : storage.peers;
  // A connect must not fail because of them.
  const loadTimeoutMs = Math.min(storageTimeoutMs, connectTimeoutMs / 2);
  return new PeerJournal(peers, { clock, storageTimeoutMs, loadTimeoutMs, failed, recovered });
}

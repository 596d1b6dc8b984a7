import type { ClientProfile } from "../options/client-profile.js";
import type { CredentialEncryption } from "../sessions/credentials.js";
import { markDirty, type PooledSession } from "../sessions/pooled-session.js";

/**
 * Seals a session's credentials anew, with another profile if one is given. What another process changes of them while
 * the sealer works is not undone. They are still to be written.
 */
export async function reencrypt(
  sealing: CredentialEncryption,
  known: PooledSession,
  profile?: ClientProfile,
): Promise<void> {
  for (;;) {
    const { credentials } = known;
    const sealed = await sealing.seal(known.id, credentials.reveal(), profile ?? credentials.profile);
    if (known.credentials !== credentials) continue;
    known.credentials = sealed;
    markDirty(known, "credentials");
    return;
  }
}

/** The accounts of the demo: made up by the test server when it starts, gone when it ends. */
export const ACCOUNTS: readonly string[] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];

/** Whom the messages are for. */
export const RECIPIENT = "channel1";

/** One thing to be done by whichever account is free. */
export type Job =
  | { readonly kind: "message"; readonly text: string }
  | { readonly kind: "username"; readonly username: string };

/** Makes these numbers of messages and usernames in mixed order, each recognizable by its text or name. */
export function makeJobs(messages: number, usernames: number): readonly Job[] {
  const jobs: Job[] = [];
  let named = 0;
  for (let sent = 1; sent <= messages; sent++) {
    jobs.push({ kind: "message", text: `Message ${sent} of ${messages}` });
    while (named < Math.floor((sent * usernames) / messages))
      jobs.push({ kind: "username", username: `user${++named}` });
  }
  return jobs;
}

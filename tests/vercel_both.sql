CREATE TABLE "Message_v2" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "chatId" uuid NOT NULL REFERENCES "Chat",
    role varchar NOT NULL, parts json NOT NULL, attachments json NOT NULL, "createdAt" timestamp NOT NULL);
CREATE TABLE "Vote_v2" ("chatId" uuid REFERENCES "Chat", "messageId" uuid REFERENCES "Message_v2",
    "isUpvoted" boolean NOT NULL, PRIMARY KEY ("chatId", "messageId"));
CREATE TABLE "Document" (id uuid DEFAULT gen_random_uuid(), "createdAt" timestamp, title text NOT NULL, content text,
    text varchar NOT NULL DEFAULT 'text', "userId" uuid NOT NULL REFERENCES "User", PRIMARY KEY (id, "createdAt"));
CREATE TABLE "Suggestion" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "documentId" uuid NOT NULL,
    "documentCreatedAt" timestamp NOT NULL, "originalText" text NOT NULL, "suggestedText" text NOT NULL, description text,
    "isResolved" boolean NOT NULL DEFAULT false, "userId" uuid NOT NULL REFERENCES "User", "createdAt" timestamp NOT NULL,
    FOREIGN KEY ("documentId", "documentCreatedAt") REFERENCES "Document");
CREATE TABLE "Stream" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "chatId" uuid NOT NULL REFERENCES "Chat",
    "createdAt" timestamp NOT NULL);

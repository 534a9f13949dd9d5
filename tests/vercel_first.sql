-- The first generation of Vercel's ai-chatbot schema (Apache-2.0), with what it kept beside its successor.
CREATE TABLE "User" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email varchar(64) NOT NULL, password varchar(64));
CREATE TABLE "Chat" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "createdAt" timestamp NOT NULL, title text NOT NULL,
    "userId" uuid NOT NULL REFERENCES "User", visibility varchar NOT NULL DEFAULT 'private', "lastContext" jsonb);
CREATE TABLE "Message" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "chatId" uuid NOT NULL REFERENCES "Chat",
    role varchar NOT NULL, content json NOT NULL, "createdAt" timestamp NOT NULL);
CREATE TABLE "Vote" ("chatId" uuid REFERENCES "Chat", "messageId" uuid REFERENCES "Message", "isUpvoted" boolean NOT NULL,
    PRIMARY KEY ("chatId", "messageId"));

-- The second generation of Vercel's ai-chatbot schema (Apache-2.0), without the tables that both have.
CREATE TABLE "User" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email varchar(64) NOT NULL, password varchar(64),
    name text, image text, "emailVerified" boolean NOT NULL DEFAULT false, "isAnonymous" boolean NOT NULL DEFAULT false,
    "createdAt" timestamp NOT NULL DEFAULT now(), "updatedAt" timestamp NOT NULL DEFAULT now());
CREATE TABLE "Chat" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "createdAt" timestamp NOT NULL, title text NOT NULL,
    "userId" uuid NOT NULL REFERENCES "User", visibility varchar NOT NULL DEFAULT 'private');

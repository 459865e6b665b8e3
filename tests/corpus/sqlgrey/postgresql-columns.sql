--
-- PostgreSQL database dump
--

\restrict kW5fz9UvXOrCfIMvZZmFR99qhGEMUkUjq86PSiauYiVgPNjZYKY00NYstnu54iY

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Data for Name: config; Type: TABLE DATA; Schema: public; Owner: postgres
--

INSERT INTO "public"."config" ("parameter", "value") VALUES ('version', '3');


--
-- Data for Name: connect; Type: TABLE DATA; Schema: public; Owner: postgres
--

INSERT INTO "public"."connect" ("sender_name", "sender_domain", "src", "rcpt", "first_seen") VALUES ('ann', 'example.com', '198.51.100.77', 'bob@example.org', '2026-10-01 12:00:00');
INSERT INTO "public"."connect" ("sender_name", "sender_domain", "src", "rcpt", "first_seen") VALUES ('o''hara', 'example.com', '198.51.100', 'bob@example.org', '2026-10-01 12:00:00');
INSERT INTO "public"."connect" ("sender_name", "sender_domain", "src", "rcpt", "first_seen") VALUES ('back\slash', 'example.com', '198.51.100.78', 'bob@example.org', '2026-10-01 12:00:00');
INSERT INTO "public"."connect" ("sender_name", "sender_domain", "src", "rcpt", "first_seen") VALUES ('dq"uote;--x', 'example.com', '198.51.100.79', 'carl,(a)@example.org', '2026-10-01 12:00:00');
INSERT INTO "public"."connect" ("sender_name", "sender_domain", "src", "rcpt", "first_seen") VALUES ('-undef-', '-undef-', '198.51.100.80', 'bob@example.org', '2026-10-01 12:00:00');
INSERT INTO "public"."connect" ("sender_name", "sender_domain", "src", "rcpt", "first_seen") VALUES ('tab	here', 'example.com', '198.51.100.81', 'bob@example.org', '2026-10-01 12:00:00');
INSERT INTO "public"."connect" ("sender_name", "sender_domain", "src", "rcpt", "first_seen") VALUES ('näme', 'example.com', '2001:0db8:0000:0001:0000:0000:0000:0007', 'bob@example.org', '2026-10-01 12:00:00');


--
-- Data for Name: domain_awl; Type: TABLE DATA; Schema: public; Owner: postgres
--

INSERT INTO "public"."domain_awl" ("sender_domain", "src", "first_seen", "last_seen") VALUES ('example.net', '198.51.100.77', '2026-10-01 12:00:00.12345', '2026-10-02 12:00:00');
INSERT INTO "public"."domain_awl" ("sender_domain", "src", "first_seen", "last_seen") VALUES ('example.com', '203.0.113', '2026-10-01 12:00:00.12345', '2026-10-02 12:00:00');


--
-- Data for Name: from_awl; Type: TABLE DATA; Schema: public; Owner: postgres
--

INSERT INTO "public"."from_awl" ("sender_name", "sender_domain", "src", "first_seen", "last_seen") VALUES ('ann', 'example.com', '198.51.100.77', '2026-10-01 12:00:00', '2026-10-02 12:00:00');
INSERT INTO "public"."from_awl" ("sender_name", "sender_domain", "src", "first_seen", "last_seen") VALUES ('#-x', 'example.com', '198.51.100', '2026-10-01 12:00:00', '2026-10-02 12:00:00');


--
-- Data for Name: optout_email; Type: TABLE DATA; Schema: public; Owner: postgres
--

INSERT INTO "public"."optout_email" ("email") VALUES ('boss@example.org');


--
-- PostgreSQL database dump complete
--

\unrestrict kW5fz9UvXOrCfIMvZZmFR99qhGEMUkUjq86PSiauYiVgPNjZYKY00NYstnu54iY


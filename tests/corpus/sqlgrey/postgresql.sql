--
-- PostgreSQL database dump
--

\restrict FoyrEJeIJgN5UgSfgY5QrFe6kFydxkzQ4q2GNepSlXyiztez2YWjxDPmn4GR2ea

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

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: config; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.config (
    parameter character varying(255) NOT NULL,
    value character varying(255)
);


ALTER TABLE public.config OWNER TO postgres;

--
-- Name: connect; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.connect (
    sender_name character varying(64) NOT NULL,
    sender_domain character varying(255) NOT NULL,
    src character varying(39) NOT NULL,
    rcpt character varying(255) NOT NULL,
    first_seen timestamp without time zone NOT NULL
);


ALTER TABLE public.connect OWNER TO postgres;

--
-- Name: domain_awl; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.domain_awl (
    sender_domain character varying(255) NOT NULL,
    src character varying(39) NOT NULL,
    first_seen timestamp without time zone NOT NULL,
    last_seen timestamp without time zone NOT NULL
);


ALTER TABLE public.domain_awl OWNER TO postgres;

--
-- Name: from_awl; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.from_awl (
    sender_name character varying(64) NOT NULL,
    sender_domain character varying(255) NOT NULL,
    src character varying(39) NOT NULL,
    first_seen timestamp without time zone NOT NULL,
    last_seen timestamp without time zone NOT NULL
);


ALTER TABLE public.from_awl OWNER TO postgres;

--
-- Name: optout_email; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.optout_email (
    email character varying(255) NOT NULL
);


ALTER TABLE public.optout_email OWNER TO postgres;

--
-- Data for Name: config; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.config (parameter, value) FROM stdin;
version	3
\.


--
-- Data for Name: connect; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.connect (sender_name, sender_domain, src, rcpt, first_seen) FROM stdin;
ann	example.com	198.51.100.77	bob@example.org	2026-10-01 12:00:00
o'hara	example.com	198.51.100	bob@example.org	2026-10-01 12:00:00
back\\slash	example.com	198.51.100.78	bob@example.org	2026-10-01 12:00:00
dq"uote;--x	example.com	198.51.100.79	carl,(a)@example.org	2026-10-01 12:00:00
-undef-	-undef-	198.51.100.80	bob@example.org	2026-10-01 12:00:00
tab\there	example.com	198.51.100.81	bob@example.org	2026-10-01 12:00:00
näme	example.com	2001:0db8:0000:0001:0000:0000:0000:0007	bob@example.org	2026-10-01 12:00:00
\.


--
-- Data for Name: domain_awl; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.domain_awl (sender_domain, src, first_seen, last_seen) FROM stdin;
example.net	198.51.100.77	2026-10-01 12:00:00.12345	2026-10-02 12:00:00
example.com	203.0.113	2026-10-01 12:00:00.12345	2026-10-02 12:00:00
\.


--
-- Data for Name: from_awl; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.from_awl (sender_name, sender_domain, src, first_seen, last_seen) FROM stdin;
ann	example.com	198.51.100.77	2026-10-01 12:00:00	2026-10-02 12:00:00
#-x	example.com	198.51.100	2026-10-01 12:00:00	2026-10-02 12:00:00
\.


--
-- Data for Name: optout_email; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.optout_email (email) FROM stdin;
boss@example.org
\.


--
-- Name: config config_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.config
    ADD CONSTRAINT config_pkey PRIMARY KEY (parameter);


--
-- Name: domain_awl domain_awl_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.domain_awl
    ADD CONSTRAINT domain_awl_pkey PRIMARY KEY (src, sender_domain);


--
-- Name: from_awl from_awl_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.from_awl
    ADD CONSTRAINT from_awl_pkey PRIMARY KEY (src, sender_domain, sender_name);


--
-- Name: optout_email optout_email_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.optout_email
    ADD CONSTRAINT optout_email_pkey PRIMARY KEY (email);


--
-- Name: connect_idx; Type: INDEX; Schema: public; Owner: postgres
--

CREATE INDEX connect_idx ON public.connect USING btree (src, sender_domain, sender_name);


--
-- Name: domain_awl_lseen; Type: INDEX; Schema: public; Owner: postgres
--

CREATE INDEX domain_awl_lseen ON public.domain_awl USING btree (last_seen);


--
-- Name: from_awl_lseen; Type: INDEX; Schema: public; Owner: postgres
--

CREATE INDEX from_awl_lseen ON public.from_awl USING btree (last_seen);


--
-- PostgreSQL database dump complete
--

\unrestrict FoyrEJeIJgN5UgSfgY5QrFe6kFydxkzQ4q2GNepSlXyiztez2YWjxDPmn4GR2ea


/*M!999999\- enable the sandbox mode */ 
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: sqlgrey
-- ------------------------------------------------------
-- Server version	10.11.19-MariaDB-0+deb12u1
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ANSI' */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;

--
-- Table structure for table "config"
--

DROP TABLE IF EXISTS "config";
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE "config" (
  "parameter" varchar(255) NOT NULL,
  "value" varchar(255) DEFAULT NULL,
  PRIMARY KEY ("parameter")
);
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table "config"
--

LOCK TABLES "config" WRITE;
/*!40000 ALTER TABLE "config" DISABLE KEYS */;
INSERT INTO "config" VALUES
('last_dbclean','1795787545'),
('version','3');
/*!40000 ALTER TABLE "config" ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table "connect"
--

DROP TABLE IF EXISTS "connect";
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE "connect" (
  "sender_name" varchar(64) NOT NULL,
  "sender_domain" varchar(255) NOT NULL,
  "src" varchar(39) NOT NULL,
  "rcpt" varchar(255) NOT NULL,
  "first_seen" timestamp NOT NULL,
  KEY "connect_idx" ("src","sender_domain","sender_name"),
  KEY "connect_fseen" ("first_seen")
);
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table "connect"
--

LOCK TABLES "connect" WRITE;
/*!40000 ALTER TABLE "connect" DISABLE KEYS */;
INSERT INTO "connect" VALUES
('ann','example.com','198.51.100.77','bob@example.org','2026-10-01 10:00:00'),
('o\'hara','example.com','198.51.100','bob@example.org','2026-10-01 10:00:00'),
('back\\slash','example.com','198.51.100.78','bob@example.org','2026-10-01 10:00:00'),
('dq\"uote;--x','example.com','198.51.100.79','carl,(a)@example.org','2026-10-01 10:00:00'),
('-undef-','-undef-','198.51.100.80','bob@example.org','2026-10-01 10:00:00'),
('tab	here','example.com','198.51.100.81','bob@example.org','2026-10-01 10:00:00'),
('näme','example.com','2001:0db8:0000:0001:0000:0000:0000:0007','bob@example.org','2026-10-01 10:00:00');
/*!40000 ALTER TABLE "connect" ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table "domain_awl"
--

DROP TABLE IF EXISTS "domain_awl";
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE "domain_awl" (
  "sender_domain" varchar(255) NOT NULL,
  "src" varchar(39) NOT NULL,
  "first_seen" timestamp NOT NULL,
  "last_seen" timestamp NOT NULL,
  PRIMARY KEY ("src","sender_domain"),
  KEY "domain_awl_lseen" ("last_seen")
);
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table "domain_awl"
--

LOCK TABLES "domain_awl" WRITE;
/*!40000 ALTER TABLE "domain_awl" DISABLE KEYS */;
INSERT INTO "domain_awl" VALUES
('example.net','198.51.100.77','2026-10-01 10:00:00','2026-10-02 10:00:00'),
('example.com','203.0.113','2026-10-01 10:00:00','2026-10-02 10:00:00');
/*!40000 ALTER TABLE "domain_awl" ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table "from_awl"
--

DROP TABLE IF EXISTS "from_awl";
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE "from_awl" (
  "sender_name" varchar(64) NOT NULL,
  "sender_domain" varchar(255) NOT NULL,
  "src" varchar(39) NOT NULL,
  "first_seen" timestamp NOT NULL,
  "last_seen" timestamp NOT NULL,
  PRIMARY KEY ("src","sender_domain","sender_name"),
  KEY "from_awl_lseen" ("last_seen")
);
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table "from_awl"
--

LOCK TABLES "from_awl" WRITE;
/*!40000 ALTER TABLE "from_awl" DISABLE KEYS */;
INSERT INTO "from_awl" VALUES
('#-x','example.com','198.51.100','2026-10-01 10:00:00','2026-10-02 10:00:00'),
('ann','example.com','198.51.100.77','2026-10-01 10:00:00','2026-10-02 10:00:00');
/*!40000 ALTER TABLE "from_awl" ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table "optin_domain"
--

DROP TABLE IF EXISTS "optin_domain";
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE "optin_domain" (
  "domain" varchar(255) NOT NULL,
  PRIMARY KEY ("domain")
);
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table "optin_domain"
--

LOCK TABLES "optin_domain" WRITE;
/*!40000 ALTER TABLE "optin_domain" DISABLE KEYS */;
/*!40000 ALTER TABLE "optin_domain" ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table "optin_email"
--

DROP TABLE IF EXISTS "optin_email";
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE "optin_email" (
  "email" varchar(255) NOT NULL,
  PRIMARY KEY ("email")
);
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table "optin_email"
--

LOCK TABLES "optin_email" WRITE;
/*!40000 ALTER TABLE "optin_email" DISABLE KEYS */;
/*!40000 ALTER TABLE "optin_email" ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table "optout_domain"
--

DROP TABLE IF EXISTS "optout_domain";
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE "optout_domain" (
  "domain" varchar(255) NOT NULL,
  PRIMARY KEY ("domain")
);
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table "optout_domain"
--

LOCK TABLES "optout_domain" WRITE;
/*!40000 ALTER TABLE "optout_domain" DISABLE KEYS */;
/*!40000 ALTER TABLE "optout_domain" ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table "optout_email"
--

DROP TABLE IF EXISTS "optout_email";
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE "optout_email" (
  "email" varchar(255) NOT NULL,
  PRIMARY KEY ("email")
);
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table "optout_email"
--

LOCK TABLES "optout_email" WRITE;
/*!40000 ALTER TABLE "optout_email" DISABLE KEYS */;
INSERT INTO "optout_email" VALUES
('boss@example.org');
/*!40000 ALTER TABLE "optout_email" ENABLE KEYS */;
UNLOCK TABLES;

/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

-- Dump completed on 2026-11-27 13:52:58

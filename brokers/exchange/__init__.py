"""A stock exchange on loopback that speaks Alpaca's API, for rehearsals and for anybody's client."""

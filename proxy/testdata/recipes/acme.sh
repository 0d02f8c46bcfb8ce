# acme.sh 3.1.5, for example.org and *.example.org
key --acme --zone example.org
200 GET ZONES?zone=_acme-challenge.example.org.
200 GET ZONES?zone=example.org.
200 GET ZONES/example.org.
204 PATCH ZONES/example.org. {"rrsets": [{"changetype": "REPLACE", "name": "_acme-challenge.example.org.", "type": "TXT", "ttl": 60, "records": [{"content": "\"value1\"", "disabled": false}, {"content": "\"value2\"", "disabled": false}]}]}
200 PUT ZONES/example.org./notify
200 GET ZONES?zone=_acme-challenge.example.org.
200 GET ZONES?zone=example.org.
200 GET ZONES/example.org.
204 PATCH ZONES/example.org. {"rrsets": [{"changetype": "REPLACE", "name": "_acme-challenge.example.org.", "type": "TXT", "ttl": 60, "records": [{"content": "\"value3\"", "disabled": false}, {"content": "\"value2\"", "disabled": false}, {"content": "\"value1\"", "disabled": false}]}]}
200 PUT ZONES/example.org./notify
200 GET ZONES?zone=_acme-challenge.example.org.
200 GET ZONES?zone=example.org.
200 GET ZONES/example.org.
204 PATCH ZONES/example.org. {"rrsets": [{"changetype": "DELETE", "name": "_acme-challenge.example.org.", "type": "TXT"}]}
204 PATCH ZONES/example.org. {"rrsets": [{"changetype": "REPLACE", "name": "_acme-challenge.example.org.", "type": "TXT", "ttl": 60, "records": [{"content": "\"value2\"", "disabled": false}, {"content": "\"value3\"", "disabled": false}]}]}
200 PUT ZONES/example.org./notify
200 GET ZONES?zone=_acme-challenge.example.org.
200 GET ZONES?zone=example.org.
200 GET ZONES/example.org.
204 PATCH ZONES/example.org. {"rrsets": [{"changetype": "DELETE", "name": "_acme-challenge.example.org.", "type": "TXT"}]}
204 PATCH ZONES/example.org. {"rrsets": [{"changetype": "REPLACE", "name": "_acme-challenge.example.org.", "type": "TXT", "ttl": 60, "records": [{"content": "\"value2\"", "disabled": false}]}]}
200 PUT ZONES/example.org./notify

// Command lego sets or removes the record of an ACME challenge by the very code of lego
// (https://go-acme.github.io/lego) that does so when a certificate is issued:
//
//	lego present|cleanup DOMAIN KEY-AUTHORIZATION
//
// lego takes PDNS_API_URL, PDNS_API_KEY and SSL_CERT_FILE from the environment. RESOLVER is where it looks for the
// domain's zone.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/providers/dns/pdns"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: lego present|cleanup DOMAIN KEY-AUTHORIZATION")
	}
	if err := solve(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func solve(step, domain, keyAuth string) error {
	resolver := dns01.AddRecursiveNameservers([]string{os.Getenv("RESOLVER")})
	if err := resolver(nil); err != nil { // sets it for the whole package
		return err
	}
	provider, err := pdns.NewDNSProvider()
	if err != nil {
		return err
	}
	switch step {
	case "present":
		return provider.Present(domain, "", keyAuth)
	case "cleanup":
		return provider.CleanUp(domain, "", keyAuth)
	}
	return fmt.Errorf("unknown step %q", step)
}

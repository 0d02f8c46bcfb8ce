package broker

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/conf"
)

// Ends is until when a server's certificate and the one of its CA are good; zero where it is not known.
type Ends struct{ Certificate, CA time.Time }

// Ends are those of what the server shows its clients at present.
func (s *Server) Ends() Ends { return *s.ends.Load() }

// readEnds reads them where a configuration was just taken.
func readEnds(configFile string, shown *tls.Config) *Ends {
	ends := &Ends{}
	if shown == nil || len(shown.Certificates) == 0 {
		return ends
	}
	own, err := x509.ParseCertificate(shown.Certificates[0].Certificate[0])
	if err != nil {
		return ends
	}
	ends.Certificate = own.NotAfter
	for _, ca := range certificatesIn(caFileOf(configFile)) { // two while one is replaced
		if own.CheckSignatureFrom(ca) == nil {
			ends.CA = ca.NotAfter
		}
	}
	return ends
}

// caFileOf is where a configuration says the CA is, "" if it does not.
func caFileOf(configFile string) string {
	document, err := conf.ParseFile(configFile)
	if err != nil {
		return ""
	}
	for key, value := range document {
		section, is := value.(map[string]any)
		if !is || !strings.EqualFold(key, "tls") {
			continue
		}
		for key, value := range section {
			if file, is := value.(string); is && strings.EqualFold(key, "ca_file") {
				return file
			}
		}
	}
	return ""
}

func certificatesIn(file string) (found []*x509.Certificate) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			found = append(found, c)
		}
	}
	return found
}

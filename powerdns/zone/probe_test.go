package zone
import ("testing";"os";"os/exec";"fmt")
func TestProbe(t *testing.T) {
	for name, rdata := range rdataTexts {
		switch name { case "SOA","X25": continue }
		os.WriteFile("/tmp/pz", []byte("$ORIGIN example.\n"+apexText+"www 60 IN "+name+" "+rdata+"\n"), 0o600)
		out, err := exec.Command("ldns-signzone","-Z","-z","sha384","-o","example.","-f","/tmp/pz.out","/tmp/pz").CombinedOutput()
		if err != nil { fmt.Println(name, string(out)); continue }
		made, _ := os.ReadFile("/tmp/pz.out")
		z, err := tryParse(t, "example.", string(made))
		if err != nil { fmt.Println(name, err); continue}
		d := z.Digest()
		if fmt.Sprintf("%x", d) != published(t, z) { fmt.Println("DIFFERENT", name, string(made)) }
	}
}

package observe_test

import (
	"bytes"
	"fmt"
	"regexp"
	"testing"

	"pdns-distribute/roles/observe"
)

const stampPattern = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`

func TestLogFormats(t *testing.T) {
	for format, want := range map[string]string{
		"json":    `^{"level":"warn","zone":"example.org","time":"` + stampPattern + `","message":"late"}\n$`,
		"console": `^` + stampPattern + ` WRN late zone=example.org\n$`, // without colours: a buffer is no terminal
	} {
		var out bytes.Buffer
		log := observe.LogConfig{Level: "info", Format: format}.New(&out)
		log.Debug().Msg("not written")
		log.Warn().Str("zone", "example.org").Msg("late")
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("%s: got %q, want %s", format, out.String(), want)
		}
	}
}

func TestLogConfigValidate(t *testing.T) {
	for _, level := range []string{"debug", "info", "warn", "error"} {
		if err := (observe.LogConfig{Level: level, Format: "json"}).Validate(); err != nil {
			t.Error(err)
		}
	}
	want := "log.level: \"loud\" is not one of debug, info, warn, error\nlog.format: \"xml\" is not one of json, console"
	if got := fmt.Sprint(observe.LogConfig{Level: "loud", Format: "xml"}.Validate()); got != want {
		t.Errorf("got %s", got)
	}
}

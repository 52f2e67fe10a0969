
# The network reads sos, whose id follows the colours', and the tokens but the last: position t scores token t.
sos = torch.full((1, 1), len(clusters))
inputs = torch.cat([sos, tokens[:, :-1]], 1)
with torch.no_grad():
    out = model(inputs, output_hidden_states=True)
    feature = features(out, MIDDLE_LAYER)
